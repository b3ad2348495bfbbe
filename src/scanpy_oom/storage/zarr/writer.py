"""Writing a matrix to a Zarr store, one run of rows after the other."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..appender import Appender
from ..matrix_writer import CompressedMatrixWriter, DenseMatrixWriter, MatrixWriter

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy as np
    import zarr
    from numpy.typing import NDArray

__all__ = ["ZarrArrayWriter", "ZarrCompressedWriter"]

CHUNKS_AT_A_TIME = 8
"""Chunks that are handed to zarr together, which compresses them at once."""


class _Writer(MatrixWriter["zarr.Group"]):
    """Makes arrays."""

    def _create_group(self, parent: zarr.Group, name: str, attributes: Mapping[str, Any]) -> zarr.Group:
        group = parent.require_group(name)
        group.attrs.update(attributes)
        return group

    def _create_array(
        self,
        parent: zarr.Group,
        name: str,
        shape: tuple[int, ...],
        dtype: np.dtype,
        options: Mapping[str, Any],
        attributes: Mapping[str, Any],
    ) -> Appender:
        array = parent.create_array(name, shape=shape, dtype=dtype, **options)
        array.attrs.update(attributes)
        return Appender(array, CHUNKS_AT_A_TIME * (array.shards or array.chunks)[0])

    def _options(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """Give options the names that they have in zarr 3, as anndata does."""
        options = dict(given)
        if "compressor" in options:
            options["compressors"] = options.pop("compressor")
        return options


class ZarrCompressedWriter(_Writer, CompressedMatrixWriter["zarr.Group"]):
    """Writes a CSR or CSC matrix in anndata's layout, some rows or columns after the other."""

    def _write_offsets(self, indptr: NDArray[np.integer]) -> None:
        array = self._group.create_array("indptr", shape=indptr.shape, dtype=indptr.dtype, **self._given)
        array[...] = indptr


class ZarrArrayWriter(_Writer, DenseMatrixWriter["zarr.Group"]):
    """Writes a dense matrix in anndata's layout."""
