"""The extension for notebooks: ``%load_ext scanpy_oom``, and the magic ``%scanpy_oom``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .dispatch.patching.activation import disable, enable
from .settings import settings

if TYPE_CHECKING:
    from .report.summary import Report

__all__ = ["load_ipython_extension", "unload_ipython_extension"]

_READS = ("asked", "auto", "always")


def load_ipython_extension(ipython: Any) -> None:
    """Do what :func:`scanpy_oom.enable` does, and add ``%scanpy_oom``, for ``%load_ext scanpy_oom``."""
    enable()
    ipython.register_magic_function(scanpy_oom, magic_kind="line")


def unload_ipython_extension(ipython: Any) -> None:
    """Do what :func:`scanpy_oom.disable` does, for ``%unload_ext scanpy_oom``."""
    disable()
    ipython.magics_manager.magics["line"].pop("scanpy_oom", None)


def scanpy_oom(line: str) -> Report | None:
    """Set which files stay on disk, or show what was done.

    ``%scanpy_oom auto``, ``%scanpy_oom always`` and ``%scanpy_oom asked`` set
    :attr:`settings.read <scanpy_oom.settings.Settings.read>`. ``%scanpy_oom report`` shows :func:`scanpy_oom.report`.

    Raises
    ------
    ValueError
        If the line says something else.
    """
    word = line.strip()
    if word == "report":
        from .report import report

        return report()
    for read in _READS:
        if word == read:
            settings.read = read  # type: ignore[assignment]
            return None
    msg = f"`%scanpy_oom {word}` is not known. Use `%scanpy_oom report`, or one of {', '.join(_READS)}."
    raise ValueError(msg)
