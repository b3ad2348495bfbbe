from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import sparse

from scanpy_oom import kernels
from scanpy_oom.kernels import reference
from scanpy_oom.kernels.codes import Layout

EVERYTHING = np.empty(0, dtype=np.int32)


@st.composite
def counted(draw: st.DrawFn) -> sparse.csr_matrix:
    """Counts of all sizes, near to each other and far apart."""
    n_rows, n_columns = draw(st.integers(0, 8)), draw(st.sampled_from([1, 9, 200, 70_000]))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    lengths = rng.integers(0, min(n_columns, 30) + 1, n_rows)
    columns = [np.sort(rng.choice(n_columns, n, replace=False)) for n in lengths]
    values = rng.choice([1, 2, 3, 4, 64, 255, 256, 257, 300, 65_535, 65_536], lengths.sum())
    indptr = np.concatenate([[0], np.cumsum(lengths)])
    indices = np.concatenate([*columns, EVERYTHING]).astype(np.int32)
    return sparse.csr_matrix((values.astype(np.float64), indices, indptr), shape=(n_rows, n_columns))


def encoded(block: sparse.csr_matrix, gap_bits: int, dtype=np.float64) -> tuple[bytes, Layout] | None:
    code = np.empty(kernels.LONGEST_CODE * block.nnz + 1, dtype=np.uint8)
    indptr, indices = block.indptr.astype(np.int64), block.indices.astype(np.int32)
    found = kernels.encode_counts(indptr, indices, block.data.astype(dtype), gap_bits, code)
    return None if found is None else (code[: Layout(*found).nbytes].tobytes(), Layout(*found))


def decoded(block: sparse.csr_matrix, code: tuple[bytes, Layout], wanted, column_map) -> sparse.csr_matrix:
    lengths = np.diff(block.indptr).astype(np.int32)
    n_rows = int(wanted.sum()) if wanted.size else lengths.size
    out_lengths = np.empty(n_rows, dtype=np.int64)
    indices, data = np.empty(block.nnz, dtype=np.int32), np.empty(block.nnz)
    stored = np.frombuffer(code[0], dtype=np.uint8).copy()
    n = kernels.decode_counts(lengths, stored, code[1], wanted, column_map, out_lengths, indices, data)
    n_columns = int(column_map.max(initial=-1)) + 1 if column_map.size else block.shape[1]
    indptr = np.concatenate([[0], np.cumsum(out_lengths)])
    assert indptr[-1] == n
    return sparse.csr_matrix((data[:n], indices[:n], indptr), shape=(n_rows, n_columns))


@given(block=counted(), gap_bits=st.integers(1, 7), dtype=st.sampled_from([np.float32, np.float64]))
def test_codes_equal_reference_and_lead_back_to_the_counts(block, gap_bits, dtype):
    code = encoded(block, gap_bits, dtype)
    expected = reference.encode_counts(block.indptr, block.indices, block.data, gap_bits)
    assert (None if code is None else code[0]) == expected
    if code is not None:
        found = decoded(block, code, EVERYTHING.astype(bool), EVERYTHING)
        assert (found != block).nnz == 0
        np.testing.assert_array_equal(found.indptr, block.indptr)


@given(block=counted(), gap_bits=st.integers(1, 7), data=st.data())
def test_rows_and_columns_that_are_decoded_are_those_of_scipy(block, gap_bits, data):
    if (code := encoded(block, gap_bits)) is None:
        return
    n_rows, n_columns = block.shape
    wanted = np.array(data.draw(st.lists(st.booleans(), min_size=n_rows, max_size=n_rows)), dtype=bool)
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32 - 1)))
    columns = rng.permutation(n_columns)[: int(rng.integers(1, n_columns + 1))]
    column_map = np.full(n_columns, -1, dtype=np.int32)
    column_map[columns] = np.arange(columns.size)
    found = decoded(block, code, wanted, column_map)
    assert (found != block[np.flatnonzero(wanted)][:, columns]).nnz == 0


@pytest.mark.parametrize("value", [0.0, -0.0, -1.0, 1.5, 65_537.0, np.inf, -np.inf, np.nan])
def test_what_is_no_count_of_one_or_more_is_reported(value):
    block = sparse.csr_matrix((np.array([1.0, value, 2.0]), np.array([0, 3, 4]), np.array([0, 3])), shape=(1, 5))
    assert encoded(block, 6) is None
    assert reference.encode_counts(block.indptr, block.indices, block.data, 6) is None


def test_columns_that_are_too_far_apart_are_reported():
    block = sparse.csr_matrix((np.ones(2), np.array([1, 65_538]), np.array([0, 2])), shape=(1, 70_000))
    assert encoded(block, 6) is None
    block.indices[1] -= 1
    assert encoded(block, 6) is not None
