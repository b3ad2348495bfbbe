"""numba's compiler, with a place for what it compiles wherever there is one."""

from __future__ import annotations

import atexit
import shutil
import tempfile

from numba import njit
from numba.core import config

__all__ = ["is_kept", "njit"]


def _probe() -> None:
    """Stand for any compiled function of this package."""


def _finds_place() -> bool:
    """Return whether numba has a folder to keep compiled functions in; it compiles nothing for keeps where it has none.

    It looks at ``NUMBA_CACHE_DIR``, the folder of the module, and the user's folder of caches.
    """
    try:
        njit(cache=True)(_probe)
    except RuntimeError:
        return False
    return True


is_kept = _finds_place()
"""True if what is compiled is there for the next process."""

if not is_kept:
    _folder = tempfile.mkdtemp(prefix="scanpy-oom-compiled-")
    atexit.register(shutil.rmtree, _folder, ignore_errors=True)
    config.CACHE_DIR = _folder  # type: ignore[attr-defined]
