"""HDF5 filters: which of them are undone here, and which are left to the HDF5 library."""

from __future__ import annotations

import importlib.util
from typing import TYPE_CHECKING, NamedTuple, Self, cast

import deflate
import h5py
import numpy as np
from isal import igzip_lib

from ..errors import OOMError
from . import fletcher32, lzf
from .shuffle import unshuffle

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["FilterPipeline", "MissingFilterError"]

_NAMES = {
    1: "gzip",
    2: "shuffle",
    3: "fletcher32",
    4: "szip",
    5: "nbit",
    6: "scaleoffset",
    307: "bzip2",
    32000: "lzf",
    32001: "blosc",
    32004: "lz4",
    32008: "bitshuffle",
    32013: "zfp",
    32015: "zstd",
    32026: "blosc2",
}
_GZIP, _SHUFFLE, _FLETCHER32, _LZF, _ZSTD = 1, 2, 3, 32000, 32015
_COMPRESSIONS = {(), (_GZIP,), (_LZF,), (_ZSTD,)}
_MAX_WINDOW_BITS = 15
_IsalError = cast("type[Exception]", igzip_lib.IsalError)  # isal's types describe it as an instance


class MissingFilterError(OOMError, OSError):
    """A dataset is compressed with a filter that is not installed."""


class FilterPipeline(NamedTuple):
    """The filters of one dataset, in the order in which they were applied.

    Parameters
    ----------
    codes
        Their numbers.
    shuffled
        Bytes of an element, as the filter shuffle knows it; 0 without that filter.
    """

    codes: tuple[int, ...]
    shuffled: int = 0

    @classmethod
    def of(cls, dataset: h5py.Dataset, location: str) -> Self:
        """Read the filters of a dataset.

        Raises
        ------
        MissingFilterError
            If one of them is neither known to the HDF5 library nor found in the package hdf5plugin.
        """
        plist = dataset.id.get_create_plist()
        filters = [plist.get_filter(i) for i in range(plist.get_nfilters())]
        for code, _, _, name in filters:
            if not h5py.h5z.filter_avail(code) and not _load_plugin(code):
                label = _NAMES.get(code, name.decode(errors="replace") or "unknown")
                msg = (
                    f"{location} is compressed with the HDF5 filter {label!r} (number {code}), which is not installed. "
                    "Run `pip install hdf5plugin`, or write the file again with compression='gzip'."
                )
                raise MissingFilterError(msg)
        shuffled = [int(values[0]) for code, _, values, _ in filters if code == _SHUFFLE and len(values)]
        return cls(tuple(code for code, *_ in filters), *shuffled[:1])

    @property
    def compression(self) -> str:
        """Name of the compression, without the filters that only prepare for it."""
        names = [_NAMES.get(code, str(code)) for code in self.codes if code not in {_SHUFFLE, _FLETCHER32}]
        return "+".join(names) or "none"

    @property
    def is_gzip(self) -> bool:
        """Whether gzip is the only one."""
        return self.codes == (_GZIP,)

    def is_direct(self, itemsize: int) -> bool:
        """Tell whether :meth:`decode` undoes all of them for values of `itemsize` bytes."""
        codes = self.codes[:-1] if self.codes[-1:] == (_FLETCHER32,) else self.codes
        if codes[:1] == (_SHUFFLE,):
            return self.shuffled == itemsize and codes[1:] in _COMPRESSIONS
        return codes in _COMPRESSIONS

    def decode(self, stored: bytes | memoryview, mask: int, n_bytes: int, itemsize: int) -> NDArray[np.uint8]:
        """Undo the filters of one chunk.

        Parameters
        ----------
        stored
            The chunk's bytes as they are in the file.
        mask
            Bit `i` is set where filter `i` was not applied to this chunk.
        n_bytes
            Size of the decoded chunk.
        itemsize
            Size of one value, in bytes.

        Returns
        -------
        `n_bytes` bytes; never more are unpacked, whatever is stored.

        Raises
        ------
        ValueError
            If a checksum does not fit, or the bytes do not decode to `n_bytes`.
        """
        applied = [code for i, code in enumerate(self.codes) if not mask >> i & 1]
        content = fletcher32.verified(stored) if _FLETCHER32 in applied else memoryview(stored)
        if _GZIP in applied:
            content = memoryview(_inflate(content, n_bytes))
        elif _LZF in applied:
            content = lzf.decompress(content, n_bytes).data
        elif _ZSTD in applied:
            from . import zstd

            content = zstd.decompress(content, n_bytes).data
        if len(content) != n_bytes:
            msg = f"it holds {len(content)} bytes, not {n_bytes}"
            raise ValueError(msg)
        decoded = np.frombuffer(content, dtype=np.uint8)
        return unshuffle(decoded, itemsize) if _SHUFFLE in applied and itemsize > 1 else decoded


def _inflate(stored: memoryview, n_bytes: int) -> bytearray:
    """Undo gzip's compression, whose checksum is verified.

    libdeflate takes two thirds of the time that isal takes, a third of zlib's; what is wrong with a chunk it does not
    tell.
    """
    try:
        return deflate.zlib_decompress(stored, n_bytes)
    except deflate.DeflateError as error:
        _explain(stored, n_bytes)
        msg = "it does not inflate"
        raise ValueError(msg) from error


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


def _load_plugin(code: int) -> bool:
    """Register the filters of hdf5plugin, where it is installed."""
    if importlib.util.find_spec("hdf5plugin") is None:
        return False
    importlib.import_module("hdf5plugin")
    return bool(h5py.h5z.filter_avail(code))
