"""Sums of ranks equal those of SciPy's ranks, of all groups together and of pairs."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import rankdata

from scanpy_oom.kernels import pair_rank_sums, partition_entries, rank_sums, reference, scatter_keys

N_GROUPS = 3


@st.composite
def columns(draw):
    """Values of a column, groups of its rows, which values are stored, and the value of the others."""
    n = draw(st.integers(0, 30))
    values = np.array(draw(st.lists(st.integers(0, 6), min_size=n, max_size=n)), dtype=np.int64)
    codes = np.array(draw(st.lists(st.integers(0, N_GROUPS - 1), min_size=n, max_size=n)), dtype=np.int64)
    unstored = draw(st.integers(0, 6))
    values_stored_anyway = np.array(draw(st.lists(st.booleans(), min_size=n, max_size=n)), dtype=bool)
    return values, codes, (values != unstored) | values_stored_anyway, unstored


def keys(values, codes):
    return np.sort((values.astype(np.uint64) << np.uint64(32)) | codes.astype(np.uint64))


@given(columns())
def test_sums_of_ranks_are_those_of_scipy(column):
    values, codes, stored, unstored = column
    sums = np.empty(N_GROUPS)
    ties = rank_sums(keys(values[stored], codes[stored]), unstored, np.bincount(codes, minlength=N_GROUPS), sums)
    want_sums, want_ties = reference.rank_sums(values, codes, N_GROUPS)
    np.testing.assert_array_equal(sums, want_sums)
    assert ties == want_ties


@given(columns(), st.integers(0, N_GROUPS - 1))
def test_sums_of_ranks_of_pairs_are_those_of_scipy(column, compared):
    values, codes, stored, unstored = column
    sums, ties = np.empty(N_GROUPS), np.empty(N_GROUPS)
    sizes = np.bincount(codes, minlength=N_GROUPS)
    pair_rank_sums(keys(values[stored], codes[stored]), unstored, sizes, compared, sums, ties)
    for group in set(range(N_GROUPS)) - {compared}:
        both = (codes == group) | (codes == compared)
        want_sums, want_ties = reference.rank_sums(values[both], codes[both], N_GROUPS)
        assert sums[group] == want_sums[group]
        assert ties[group] == want_ties


def test_the_reference_ranks_as_scipy():
    values, codes = np.array([3, 1, 1, 2, 3, 3]), np.array([0, 1, 0, 2, 1, 0])
    sums, ties = reference.rank_sums(values, codes, N_GROUPS)
    np.testing.assert_array_equal(sums, np.bincount(codes, rankdata(values), N_GROUPS))
    assert ties == (3**3 - 3) + (2**3 - 2)


@given(data=st.data())
def test_entries_go_to_the_bucket_of_their_column_and_keys_to_their_column(data):
    n_rows, n_columns, n_buckets = data.draw(st.integers(1, 6)), data.draw(st.integers(1, 8)), 3
    seed = data.draw(st.integers(0, 2**16))
    rng = np.random.default_rng(seed)
    dense = rng.integers(0, 3, (n_rows, n_columns))
    rows, indices = np.nonzero(dense)
    values = dense[rows, indices].astype(float)
    indptr = np.concatenate([[0], np.cumsum(np.count_nonzero(dense, axis=1))])
    codes = rng.integers(0, N_GROUPS, n_rows).astype(np.int32)
    bucket_of = np.sort(rng.integers(0, n_buckets, n_columns)).astype(np.int32)
    starts = np.empty(n_buckets + 1, dtype=np.int64)
    out = np.empty(values.size, np.int32), np.empty(values.size, np.int32), np.empty(values.size, np.float32)
    partition_entries(indptr, indices.astype(np.int32), values, codes, bucket_of, starts, *out)
    np.testing.assert_array_equal(np.diff(starts), np.bincount(bucket_of[indices], minlength=n_buckets))
    order = np.argsort(bucket_of[indices], kind="stable")
    for got, want in zip(out, (indices, codes[rows], values), strict=True):
        np.testing.assert_array_equal(got, want[order])

    cursor = np.concatenate([[0], np.cumsum(np.bincount(indices, minlength=n_columns))])[:-1]
    made = np.empty(values.size, dtype=np.uint64)
    scatter_keys(out[0], out[1], out[2].astype(np.uint32), 0, cursor, made)
    by_column = np.lexsort((rows, indices))
    np.testing.assert_array_equal(made >> np.uint64(32), values[by_column])
    np.testing.assert_array_equal(made & np.uint64(2**32 - 1), codes[rows][by_column])
