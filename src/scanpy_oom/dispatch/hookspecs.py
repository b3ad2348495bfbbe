"""What a plugin can add.

A plugin is a module or another object with some of these functions, marked by :data:`hookimpl`, and is announced by its
distribution under the entry-point group ``scanpy_oom``::

    [project.entry-points.scanpy_oom]
    my-plugin = "my_package.scanpy_oom_plugin"

What comes with scanpy-oom is registered through the same hooks (:mod:`scanpy_oom.dispatch.builtin`). A plugin is asked
before that, and those registered later before those registered earlier.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import pluggy

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from pathlib import Path

    from anndata import AnnData

    from ..io.source import Source
    from ..matrix.engine import Engine
    from .table import Override

__all__ = ["GROUP", "DispatchedCall", "hookimpl"]

GROUP = "scanpy_oom"
"""Name of the entry-point group."""

hookspec = pluggy.HookspecMarker(GROUP)
hookimpl = pluggy.HookimplMarker(GROUP)


@dataclass(frozen=True, slots=True)
class DispatchedCall:
    """One call of a scanpy function on data that stay on disk.

    Parameters
    ----------
    function
        Name of the function below ``scanpy``, as in ``"pp.log1p"``.
    how
        Whether an override ran it, or scanpy itself with the matrices in memory.
    reason
        Why it was materialised, else `None`.
    seconds
        How long it took.
    bytes_read
        Bytes fetched from disk for it, as stored there.
    passes
        Passes over a matrix that it took.
    """

    function: str
    how: Literal["out of memory", "materialised"]
    reason: str | None
    seconds: float
    bytes_read: int
    passes: int


@hookspec(firstresult=True)
def scanpy_oom_read(path: Path, wrap: Callable[[Source], Any]) -> AnnData | None:
    """Read a file in some storage format, its matrices as sources.

    Parameters
    ----------
    path
        The file or folder.
    wrap
        Makes from a :class:`~scanpy_oom.io.source.Source` what is to stand in X, in a layer or in raw.

    Returns
    -------
    The AnnData, or `None` if this is not the plugin's format.
    """


@hookspec
def scanpy_oom_overrides() -> Iterable[Override]:  # type: ignore[empty-body]
    """Return what runs scanpy functions out of memory: one :class:`~scanpy_oom.Override` for each function."""


@hookspec(firstresult=True)
def scanpy_oom_kernels(device: str) -> Mapping[str, Callable[..., Any]] | None:
    """Return the kernels for a device (``"cpu"``, ``"cuda"``) by the names in :mod:`scanpy_oom.kernels`, or `None`."""


@hookspec(firstresult=True)
def scanpy_oom_engine(name: str) -> Engine | None:
    """Return the engine of this name, which runs passes, or `None`."""


@hookspec
def scanpy_oom_observe(call: DispatchedCall) -> None:
    """Take notice of a call that has succeeded."""
