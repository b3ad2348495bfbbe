"""Switching the package on and off by hand."""

from __future__ import annotations

import _scanpy_oom_activate

from .patch import patch, unpatch

__all__ = ["disable", "enable"]


def enable() -> None:
    """Make ``backed="oom"`` known to anndata and scanpy, whether they are imported already or will be.

    This happens of itself where the package is installed, unless ``SCANPY_OOM_DISABLE=1`` is set. Functions that other
    modules imported by name from scanpy before this call stay unwrapped in those modules.
    """
    _scanpy_oom_activate.install()
    patch()


def disable() -> None:
    """Give anndata and scanpy their own functions back, in every module of theirs."""
    _scanpy_oom_activate.uninstall()
    unpatch()
