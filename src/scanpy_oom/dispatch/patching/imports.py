"""Imports that were interrupted are done anew."""

from __future__ import annotations

import sys
from traceback import walk_tb

__all__ = ["forget_unfinished"]


def forget_unfinished(error: BaseException) -> None:
    """Have packages whose import was cut short by an error imported anew, as a whole.

    Python forgets such a package, but not those of its modules that were complete. When it is imported again, it finds
    these and does not make them attributes of the package, which many a package relies on: it could never be imported.

    Parameters
    ----------
    error
        What came up, with its traceback.
    """
    unfinished = set()
    for frame, _ in walk_tb(error.__traceback__):
        name = frame.f_globals.get("__name__", "")
        if frame.f_code.co_name == "<module>" and "__path__" in frame.f_globals and name not in sys.modules:
            unfinished.add(f"{name}.")
    if unfinished:
        for name in [name for name in sys.modules if name.startswith(tuple(unfinished))]:
            del sys.modules[name]
