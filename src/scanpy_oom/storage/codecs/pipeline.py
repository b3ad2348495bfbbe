"""HDF5 filters: which of them are undone here, and which are left to the HDF5 library."""

from __future__ import annotations

import importlib.util
from typing import TYPE_CHECKING, NamedTuple, Self

import h5py
import numpy as np

from ...errors import OOMError
from .gzip import Gzip

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ..abc import Codec, Stored, Values

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
    level
        Level of gzip.
    """

    codes: tuple[int, ...]
    shuffled: int = 0
    level: int = 6

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
        first = {code: int(values[0]) for code, _, values, _ in filters if len(values)}
        return cls(tuple(code for code, *_ in filters), first.get(_SHUFFLE, 0), first.get(_GZIP, 6))

    @property
    def compression(self) -> str:
        """Name of the compression, without the filters that only prepare for it."""
        names = [_NAMES.get(code, str(code)) for code in self.codes if code not in {_SHUFFLE, _FLETCHER32}]
        return "+".join(names) or "none"

    @property
    def is_gzip(self) -> bool:
        """True if gzip is the only one."""
        return self.codes == (_GZIP,)

    def is_direct(self, itemsize: int) -> bool:
        """Return whether :meth:`decode` undoes all of them for values of `itemsize` bytes."""
        codes = self.codes[:-1] if self.codes[-1:] == (_FLETCHER32,) else self.codes
        if codes[:1] == (_SHUFFLE,):
            return self.shuffled == itemsize and codes[1:] in _COMPRESSIONS
        return codes in _COMPRESSIONS

    def decode(self, stored: Stored, mask: int, n_bytes: int, itemsize: int) -> NDArray[np.uint8]:
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
        content: Stored = stored
        for i, code in reversed(list(enumerate(self.codes))):
            if not mask >> i & 1:
                content = self._codec(code).decode(content, n_bytes, itemsize)
        if len(content) != n_bytes:
            msg = f"it holds {len(content)} bytes, not {n_bytes}"
            raise ValueError(msg)
        return np.frombuffer(content, dtype=np.uint8)

    def is_written(self, itemsize: int) -> bool:
        """Return whether :meth:`encode` applies all of them to values of `itemsize` bytes: shuffle and gzip."""
        return self.is_direct(itemsize) and set(self.codes) <= {_SHUFFLE, _GZIP}

    def encode(self, chunk: Values) -> Stored:
        """Apply the filters to one chunk.

        Parameters
        ----------
        chunk
            Its values.
        """
        content: Stored = np.ascontiguousarray(chunk).reshape(-1).view(np.uint8).data
        for code in self.codes:
            content = self._codec(code).encode(np.frombuffer(content, dtype=np.uint8), chunk.itemsize)
        return content

    def _codec(self, code: int) -> Codec:
        """Return what undoes and applies a filter. Most are compiled: what loads the compiler waits until now."""
        if code == _GZIP:
            return Gzip(self.level)
        if code == _LZF:
            from .lzf import LZF

            return LZF()
        if code == _ZSTD:
            from .zstd import Zstd

            return Zstd()
        if code == _FLETCHER32:
            from .fletcher32 import Fletcher32

            return Fletcher32()
        from .shuffle import Shuffle

        return Shuffle()


def _load_plugin(code: int) -> bool:
    """Register the filters of hdf5plugin, where it is installed."""
    if importlib.util.find_spec("hdf5plugin") is None:
        return False
    importlib.import_module("hdf5plugin")
    return bool(h5py.h5z.filter_avail(code))
