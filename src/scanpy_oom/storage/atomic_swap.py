"""Two paths exchanged in one step, of which there is no half: where the system can, which Python does not offer."""

from __future__ import annotations

import ctypes
import errno
import os
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["exchange"]

_AT_FDCWD = -100
_RENAME_EXCHANGE = 2
_CANNOT = {errno.ENOSYS, errno.EINVAL, errno.ENOTSUP}


def exchange(a: Path, b: Path) -> bool:
    """Exchange what two paths name, both of which exist, on one file system.

    Returns
    -------
    Whether the system can; if not, nothing has changed.

    Raises
    ------
    OSError
        If it can, and failed.
    """
    if not sys.platform.startswith("linux"):
        return False
    try:
        renameat2 = ctypes.CDLL(None, use_errno=True).renameat2
    except AttributeError:  # of C libraries before glibc 2.28
        return False
    paths = os.fsencode(a), os.fsencode(b)
    if not renameat2(_AT_FDCWD, paths[0], _AT_FDCWD, paths[1], _RENAME_EXCHANGE):
        return True
    number = ctypes.get_errno()
    if number in _CANNOT:
        return False
    raise OSError(number, os.strerror(number), str(a), None, str(b))
