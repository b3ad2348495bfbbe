"""Sources of others: those that give rows, and those that give columns."""

from __future__ import annotations

from typing import Any

import anndata as ad
import h5py
import numpy as np
import pytest
import scanpy as sc

from scanpy_oom import OOMMatrix
from scanpy_oom.engine.columnwise import column_parts, reads_by_columns
from scanpy_oom.engine.compute import run
from scanpy_oom.engine.request import Request
from scanpy_oom.engine.runtime import pass_log
from scanpy_oom.reductions import AxisStatistics
from scanpy_oom.storage.sources.base import CSRBlock, Source, kernel_dtype

from ...matrices import annotated, counts, dense, oom


class Given(Source):
    """Rows of a SciPy matrix, as if they were fetched from far away."""

    path = None
    compression = "none"
    location = "far away"
    backend = "far"

    def __init__(self, matrix: Any) -> None:
        self._matrix = matrix
        self.shape, self.dtype, self.format = matrix.shape, matrix.dtype, matrix.format
        self.nnz = matrix.nnz
        self.nbytes = matrix.nnz * 8
        self.fetched = 0

    @property
    def bytes_read(self) -> int:
        return self.fetched

    def row_offsets(self) -> Any:
        return np.append(0, np.cumsum(self._matrix.getnnz(axis=1)))

    def read_rows(self, rows: Any) -> CSRBlock:
        part = self._matrix.tocsr()[rows]
        self.fetched += part.nnz * 8
        data = part.data.astype(kernel_dtype(self.dtype))
        return CSRBlock(part.indptr.astype(np.int64), part.indices.astype(np.int32), data)

    def close(self) -> None:
        pass


class GivenByColumns(Given):
    """The same, of which columns can be had, and rows only if all columns are read."""

    supports_columns = True

    @property
    def has_rows(self) -> bool:
        return False

    def column_offsets(self) -> Any:
        return self._matrix.indptr

    def read_columns(self, columns: Any) -> Any:
        part = self._matrix[:, columns]
        self.fetched += part.nnz * 8
        return part.astype(kernel_dtype(self.dtype))

    def read_rows(self, rows: Any) -> CSRBlock:
        pytest.fail("rows are read")


@pytest.fixture
def values() -> Any:
    return counts(200, 30, dtype="float32").tocsc()


def test_what_knows_nothing_of_its_cost_is_estimated_by_shares_and_not_certain(values):
    source = Given(values.tocsr())
    assert source.estimate_read() == (source.nbytes, False)
    assert source.estimate_read(np.arange(50)) == (source.nbytes // 4, False)
    assert source.estimate_read(np.array([3, 3, 4])) == (source.nbytes * 2 // 200, False)
    assert not source.supports_columns
    assert source.has_rows
    source.row_alignment = 100
    assert source.estimate_read(np.array([3, 4])) == (source.nbytes // 2, False)


def test_columns_are_estimated_by_the_entries_that_they_store(values):
    source = GivenByColumns(values)
    assert source.estimate_read_columns() == (source.nbytes, False)
    entries = values[:, [4, 7]].nnz
    assert source.estimate_read_columns(np.array([7, 4, 7])) == (8 * entries, False)
    assert source.estimate_read(np.array([3])) == (source.nbytes, False)  # rows take all columns


def test_its_cost_is_explained(values):
    a = annotated(values.tocsr())
    matrix = OOMMatrix.from_source(Given(values.tocsr()))
    a.X = matrix
    (planned,) = a.oom.explain("pp.calculate_qc_metrics", percent_top=None, inplace=True).passes
    assert (planned.n_bytes, planned.bytes_certain) == (matrix.source.nbytes, False)


def test_it_is_read_by_columns(values):
    source = GivenByColumns(values)
    matrix = OOMMatrix.from_source(source)
    assert matrix.backend == "far"
    assert reads_by_columns(matrix)
    columns = np.array([5, 2, 2, 29])
    parts = list(column_parts(matrix.select(None, columns), 40))
    assert len(parts) > 1
    np.testing.assert_array_equal(np.hstack([dense(part) for part in parts]), dense(values)[:, columns])
    before = source.fetched
    found = run([Request(matrix, [AxisStatistics()])])[0][0]
    np.testing.assert_array_equal(found.known["col_sum"], np.ravel(values.sum(axis=0)))
    assert pass_log.recent()[-1].bytes_read == source.fetched - before == source.nbytes
    np.testing.assert_array_equal(dense(matrix[:, [3]]), dense(values)[:, [3]])


def test_it_is_written_by_columns(tmp_path, values):
    a = annotated(values)
    a.X = OOMMatrix.from_source(GivenByColumns(values))
    path = tmp_path / "a.h5ad"
    a.write_h5ad(path)
    with h5py.File(path) as h5:
        assert h5["X"].attrs["encoding-type"] == "csc_matrix"
    written = ad.read_h5ad(path).X
    for name in ("indptr", "indices", "data"):
        np.testing.assert_array_equal(getattr(written, name), getattr(values, name))


def test_a_matrix_says_what_it_is_stored_in(tmp_path, values):
    a = annotated(values.tocsr())
    a.write_h5ad(tmp_path / "a.h5ad")
    first, other = (sc.read_h5ad(tmp_path / "a.h5ad", backed="oom") for _ in range(2))
    lazy = first.X
    assert lazy.backend == lazy.select(np.arange(9)).backend == lazy.T.backend == "hdf5"
    assert ad.concat([first, other], index_unique="-").X.backend == "hdf5"
    assert oom(values.tocsr()).backend == "memory"
    pytest.importorskip("zarr")
    a.write_zarr(tmp_path / "a.zarr")
    assert ad.read_zarr(tmp_path / "a.zarr", backed="oom").X.backend == "zarr"
