"""gzip, one chunk at a time."""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING, cast

import deflate
from isal import igzip_lib

from ..abc import Codec

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from ..abc import Stored

__all__ = ["Gzip"]

_MAX_WINDOW_BITS = 15
_IsalError = cast("type[Exception]", igzip_lib.IsalError)  # isal's types describe it as an instance


class Gzip(Codec):
    """gzip's compression, whose checksum is verified.

    Parameters
    ----------
    level
        How much time to take where chunks are written, from 0 to 9.
    """

    name = "gzip"

    def __init__(self, level: int = 6) -> None:
        self._level = level

    def decode(self, stored: Stored, n_bytes: int, itemsize: int) -> bytearray:
        """Inflate a chunk.

        libdeflate takes two thirds of the time that isal takes, a third of zlib's; what is wrong with a chunk it does
        not tell.
        """
        content = memoryview(stored)
        try:
            return deflate.zlib_decompress(content, n_bytes)
        except deflate.DeflateError as error:
            _explain(content, n_bytes)
            msg = "it does not inflate"
            raise ValueError(msg) from error

    def encode(self, content: NDArray[np.uint8], itemsize: int) -> bytes:
        """Compress a chunk."""
        return zlib.compress(content.data, self._level)


def _explain(stored: memoryview, n_bytes: int) -> None:
    """Raise ValueError with what keeps a chunk from being inflated to `n_bytes` bytes."""
    stream = igzip_lib.IgzipDecompressor(igzip_lib.DECOMP_ZLIB, _MAX_WINDOW_BITS)
    try:
        content: bytes = stream.decompress(stored, n_bytes + 1)  # and no more: it may be without end
    except (_IsalError, EOFError) as error:
        msg = f"it does not inflate ({error})"
        raise ValueError(msg) from error
    if len(content) > n_bytes:
        msg = f"it holds more than {n_bytes} bytes"
        raise ValueError(msg)
    if not stream.eof:
        msg = f"it does not inflate (it breaks off after {len(content)} of {n_bytes} bytes)"
        raise ValueError(msg)
