"""libdeflate, as the package deflate carries it: addresses of its functions, for compiled code to call."""

from __future__ import annotations

import ctypes
import sys
from functools import cache
from importlib.util import find_spec
from typing import NamedTuple

__all__ = ["Library", "find_library", "is_available"]


class Library(NamedTuple):
    """Addresses of functions of libdeflate."""

    allocate: int
    inflate: int
    free: int


@cache
def find_library() -> Library | None:
    """Find libdeflate in the package deflate; None where that shows nothing but what Python calls (on Windows)."""
    spec = find_spec("deflate._deflate")
    if spec is None or spec.origin is None or sys.maxsize < 2**32:
        return None
    library = ctypes.CDLL(spec.origin)
    names = ("libdeflate_alloc_decompressor", "libdeflate_zlib_decompress", "libdeflate_free_decompressor")
    if not all(hasattr(library, name) for name in names):
        return None
    return Library(*(ctypes.cast(getattr(library, name), ctypes.c_void_p).value or 0 for name in names))


def is_available() -> bool:
    """Return whether :func:`~scanpy_oom.storage.codecs.gzip_alone.inflate_each` can be called."""
    return find_library() is not None
