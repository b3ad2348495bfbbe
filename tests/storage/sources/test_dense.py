from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import h5py
import hdf5plugin
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import sparse

from scanpy_oom.storage.hdf5.open import open_source

MATRIX = sparse.random(60, 33, density=0.3, format="csr", random_state=np.random.default_rng(0), dtype="f4").toarray()
LAYOUTS = {
    "contiguous": {},
    "gzip": {"chunks": (7, 10), "compression": "gzip"},
    "lzf": {"chunks": (7, 10), "compression": "lzf"},
    "zstd": {"chunks": (7, 10), **hdf5plugin.Zstd()},
    "by rows": {"chunks": (1, 33)},
    "by columns": {"chunks": (60, 1), "compression": "gzip", "shuffle": True},
    "one chunk": {"chunks": (60, 33)},
}


@pytest.fixture(scope="module", params=LAYOUTS)
def path(request, tmp_path_factory):
    path = tmp_path_factory.mktemp("dense") / "x.h5ad"
    with h5py.File(path, "w") as h5:
        h5.create_dataset("X", data=MATRIX, **LAYOUTS[request.param])
    return path


@given(rows=st.one_of(st.lists(st.integers(0, 59), unique=True).map(sorted).map(np.array), st.just(slice(3, 41))))
def test_rows_are_those_of_the_matrix(path, rows):
    source = open_source(path)
    block = source.read_rows(rows)
    expected = sparse.csr_matrix(MATRIX[rows if isinstance(rows, slice) else rows.astype(int)])
    np.testing.assert_array_equal(block.indptr, expected.indptr)
    np.testing.assert_array_equal(block.indices, expected.indices)
    np.testing.assert_array_equal(block.data, expected.data)


def test_every_entry_counts_as_stored(path):
    source = open_source(path)
    assert source.format == "dense"
    assert source.nnz == MATRIX.size
    np.testing.assert_array_equal(source.row_offsets(), np.arange(61) * 33)
    assert source.read_columns(slice(None)) is None


def test_blocks_decode_each_chunk_once(path):
    source = open_source(path)
    for start in range(0, 60, 4):
        source.read_rows(slice(start, start + 4))
    assert source.bytes_read == source.nbytes


def test_threads_read_at_once(path, to_scipy):
    source = open_source(path)
    with ThreadPoolExecutor(4) as executor:
        parts = list(executor.map(lambda i: to_scipy(source, slice(i, i + 5)), range(0, 60, 5)))
    np.testing.assert_array_equal(sparse.vstack(parts).toarray(), MATRIX)


@pytest.mark.parametrize("dtype", ["?", "i1", "u2", "i4", "u8", "f2", "f4", "f8", ">f4", ">i8"])
def test_values_of_all_types_are_read(write_h5ad, to_scipy, dtype):
    matrix = (MATRIX * 100).astype(dtype)
    source = open_source(write_h5ad(matrix, compression="gzip"))
    assert source.dtype == np.dtype(dtype).newbyteorder("=")
    np.testing.assert_array_equal(to_scipy(source).toarray(), matrix)


def test_nan_is_kept_and_zeros_are_not(write_h5ad):
    matrix = np.array([[0.0, np.nan, -0.0], [np.inf, 0.0, 2.0]])
    block = open_source(write_h5ad(matrix)).read_rows(slice(None))
    np.testing.assert_array_equal(block.indptr, [0, 1, 3])
    np.testing.assert_array_equal(block.indices, [1, 0, 2])
    np.testing.assert_array_equal(block.data, [np.nan, np.inf, 2.0])


@pytest.mark.parametrize("shape", [(0, 5), (5, 0), (0, 0)])
@pytest.mark.parametrize("options", [{}, {"chunks": (3, 3), "maxshape": (None, None)}])
def test_empty_matrices_are_read(tmp_path, to_scipy, shape, options):
    with h5py.File(tmp_path / "x.h5ad", "w") as h5:
        h5.create_dataset("X", shape, "f4", **options)
    source = open_source(tmp_path / "x.h5ad")
    assert to_scipy(source).shape == shape
    assert len(source.row_offsets()) == shape[0] + 1


def test_few_rows_take_few_bytes(write_h5ad, to_scipy):
    matrix = np.random.default_rng(0).random((2000, 500))
    source = open_source(write_h5ad(matrix, compression="gzip", chunks=(100, 500)))
    np.testing.assert_array_equal(to_scipy(source, np.array([5, 1990])).toarray(), matrix[[5, 1990]])
    assert source.bytes_read < source.nbytes / 9
