"""The hooks of plugins.

A plugin is a module or another object with some of these functions, marked by :data:`hookimpl`, and is announced by its
distribution under the entry-point group ``scanpy_oom``::

    [project.entry-points.scanpy_oom]
    my-plugin = "my_package.scanpy_oom_plugin"

What comes with scanpy-oom is registered through the same hooks
(:mod:`scanpy_oom.dispatch.plugins.builtin`). A plugin is asked
before that, and those registered later before those registered earlier.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import pluggy

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

    from anndata import AnnData

    from ...engine.abc import Executor
    from ...storage.sources.base import Source
    from ..registry import Override

__all__ = ["GROUP", "DispatchedCall", "How", "hookimpl"]

GROUP = "scanpy_oom"
"""Name of the entry-point group."""

How = Literal["out of memory", "scanpy as it is", "materialised"]
"""Ways to run a call: an override, scanpy's own function, or that function on matrices brought into memory."""

hookspec = pluggy.HookspecMarker(GROUP)
hookimpl = pluggy.HookimplMarker(GROUP)


@dataclass(frozen=True, slots=True, kw_only=True)
class DispatchedCall:
    """One call of a scanpy function that has ended, in a session that works on data that stay on disk.

    What it took contains what the calls within it took. Passes and bytes are counted for the process: calls that run at
    the same time, in several threads, each count those of the others.

    Parameters
    ----------
    function
        Name of the function below ``scanpy``, as in ``"pp.log1p"``. What brings a matrix into memory outside of these
        is a call, too: ``"X.toarray"``, ``"X.to_memory"``, ``"conversion to an array"``, ``"np.linalg.norm"``.
    how
        Who ran it: ``"out of memory"`` (an override), ``"scanpy as it is"``, or ``"materialised"`` (scanpy with the
        matrices in memory).
    reason
        Why.
    error
        Type of the error that it raised, `None` if it succeeded.
    seconds
        How long it took.
    bytes_read
        Bytes fetched from disk by its passes, as stored there.
    passes
        Passes over a matrix that it took.
    peak_memory
        Bytes by which the resident memory of the process rose above that at the beginning of the call, at most;
        sampled.
    started
        When it began, in seconds since the epoch.
    depth
        How many calls it is within; 0 if the user called it.
    caller
        The function that called it, `None` if that was the user.
    where
        File and line of the user's code that brought matrices into memory; `None` of calls that did not.
    """

    function: str
    how: How
    reason: str
    error: str | None
    seconds: float
    bytes_read: int
    passes: int
    peak_memory: int
    started: float
    depth: int
    caller: str | None
    where: str | None = None


@hookspec(firstresult=True)
def scanpy_oom_read(path: Path, wrap: Callable[[Source], object], format: Literal["h5ad", "zarr"]) -> AnnData | None:
    """Read a file in some storage format, its matrices as sources.

    Parameters
    ----------
    path
        The file or folder.
    wrap
        Makes from a :class:`~scanpy_oom.storage.sources.base.Source` what is to stand in X, in a layer or in raw.
    format
        Format that was asked for: ``"zarr"`` by ``read_zarr``, ``"h5ad"`` elsewhere. A plugin that goes by the path
        need not take this argument.

    Returns
    -------
    The AnnData, or `None` if this is not the plugin's format.
    """


@hookspec(firstresult=True)
def scanpy_oom_engine(engine: object) -> Executor | None:
    """Return what makes passes on an engine.

    Parameters
    ----------
    engine
        Value of ``scanpy_oom.settings.engine``, or of the argument of :func:`scanpy_oom.engine`.

    Returns
    -------
    The executor, or `None` if this is not the plugin's engine.
    """


@hookspec
def scanpy_oom_overrides() -> Iterable[Override]:  # type: ignore[empty-body]
    """Return what runs scanpy functions out of memory: one :class:`~scanpy_oom.Override` for each function."""


@hookspec
def scanpy_oom_observe(call: DispatchedCall) -> None:
    """Take notice of a call that has ended, with an error or without."""
