"""HDF5 filters: which of them are undone here, and which are left to the HDF5 library."""

from __future__ import annotations

import importlib.util
from typing import TYPE_CHECKING, NamedTuple, Self, cast

import h5py
import numpy as np
from isal import igzip_lib

from ..errors import OOMError

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
_GZIP, _SHUFFLE, _FLETCHER32 = 1, 2, 3
_MAX_WINDOW_BITS = 15
_IsalError = cast("type[Exception]", igzip_lib.IsalError)  # isal's types describe it as an instance


class MissingFilterError(OOMError, OSError):
    """A dataset is compressed with a filter that is not installed."""


class FilterPipeline(NamedTuple):
    """The filters of one dataset, in the order in which they were applied."""

    codes: tuple[int, ...]

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
        return cls(tuple(code for code, *_ in filters))

    @property
    def compression(self) -> str:
        """Name of the compression, without the filters that only prepare for it."""
        names = [_NAMES.get(code, str(code)) for code in self.codes if code not in {_SHUFFLE, _FLETCHER32}]
        return "+".join(names) or "none"

    @property
    def is_direct(self) -> bool:
        """Whether :meth:`decode` undoes all of them."""
        return self.codes in {(), (_GZIP,), (_SHUFFLE,), (_SHUFFLE, _GZIP)}

    def decode(self, stored: bytes, mask: int, n_bytes: int, itemsize: int) -> NDArray[np.uint8]:
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

        Raises
        ------
        ValueError
            If the bytes do not decode to `n_bytes`.
        """
        applied = [code for i, code in enumerate(self.codes) if not mask >> i & 1]
        if _GZIP in applied:
            stored = _inflate(stored, n_bytes)
        if len(stored) != n_bytes:
            msg = f"it holds {len(stored)} bytes, not {n_bytes}"
            raise ValueError(msg)
        decoded = np.frombuffer(stored, dtype=np.uint8)
        if _SHUFFLE in applied and itemsize > 1:
            decoded = np.ascontiguousarray(decoded.reshape(itemsize, -1).T).reshape(-1)
        return decoded


def _inflate(stored: bytes, n_bytes: int) -> bytes:
    try:
        return igzip_lib.decompress(stored, igzip_lib.DECOMP_ZLIB, _MAX_WINDOW_BITS, n_bytes)
    except (_IsalError, EOFError) as error:
        msg = f"it does not inflate ({error})"
        raise ValueError(msg) from error


def _load_plugin(code: int) -> bool:
    """Register the filters of hdf5plugin, where it is installed."""
    if importlib.util.find_spec("hdf5plugin") is None:
        return False
    importlib.import_module("hdf5plugin")
    return bool(h5py.h5z.filter_avail(code))
