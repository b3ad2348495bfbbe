"""Writing a matrix to an h5ad, one run of rows after the other."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from typing import TYPE_CHECKING, Any

from ...settings import settings
from ..matrix_writer import CHUNK, CompressedMatrixWriter, DenseMatrixWriter, MatrixWriter
from .dataset_writer import DatasetWriter

if TYPE_CHECKING:
    from collections.abc import Mapping

    import h5py
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["ArrayWriter", "CompressedWriter"]


class _Writer(MatrixWriter["h5py.Group"]):
    """Makes datasets, with threads that compress what is written, and go when it is."""

    @cached_property
    def _pool(self) -> ThreadPoolExecutor:
        return ThreadPoolExecutor(settings.n_threads, thread_name_prefix="scanpy-oom")

    def _create_group(self, parent: h5py.Group, name: str, attributes: Mapping[str, object]) -> h5py.Group:
        group = parent.require_group(name)
        group.attrs.update(attributes)
        return group

    def _create_array(
        self,
        parent: h5py.Group,
        name: str,
        shape: tuple[int, ...],
        dtype: np.dtype,
        options: Mapping[str, Any],
        attributes: Mapping[str, object],
    ) -> DatasetWriter:
        grows = {} if shape[1:] else {"maxshape": (None,)}
        dataset = parent.create_dataset(name, shape, dtype, **grows, **options)
        dataset.attrs.update(attributes)
        return DatasetWriter(dataset, self._pool, 2 * settings.n_threads)

    def discard(self) -> None:
        """Stop, and leave what is written as it is."""
        self._pool.shutdown(wait=True, cancel_futures=True)


class CompressedWriter(_Writer, CompressedMatrixWriter["h5py.Group"]):
    """Writes a CSR or CSC matrix in anndata's layout, some rows or columns after the other."""

    def _write_offsets(self, indptr: NDArray[np.integer]) -> None:
        options = {**self._given, "chunks": (min(CHUNK, indptr.size),)}
        self._group.create_dataset("indptr", data=indptr, maxshape=(None,), **options)


class ArrayWriter(_Writer, DenseMatrixWriter["h5py.Group"]):
    """Writes a dense matrix in anndata's layout."""

    def _is_cut(self, options: Mapping[str, object]) -> bool:
        return options.get("compression") is not None
