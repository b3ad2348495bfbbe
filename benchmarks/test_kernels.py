"""Every kernel, on a block that is larger than caches."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import sparse

from scanpy_oom import kernels

from .graph_cases import GRAPH_CASES, GraphCases

N_GENES, N_VARIABLE, K = 20_000, 2_000, 50
CASES = {}


def case(function):
    """Register what prepares a call of the kernel of the same name and returns it."""
    CASES[function.__name__] = function
    return function


@case
def axis_statistics(b):
    rows, columns = np.empty((b.n, 3)), np.zeros((N_GENES, 4))
    return lambda: kernels.axis_statistics(*b.block, True, rows, columns)


@case
def group_moments(b):
    out, order = np.zeros((b.n_groups, N_GENES, 4)), np.argsort(b.codes, kind="stable")
    return lambda: kernels.group_moments(*b.block, b.codes, order, True, out)


@case
def group_sums(b):
    out, order = np.zeros((b.n_groups, N_GENES, 2)), np.argsort(b.codes, kind="stable")
    return lambda: kernels.group_sums(*b.block, b.codes, order, True, out)


@case
def group_table_sums(b):
    out, order = np.zeros((b.n_groups, N_GENES, 4)), np.argsort(b.codes, kind="stable")
    tables, missed = tuple(b.rng.random((2, b.n, 32))), np.empty(b.block[2].size, dtype=np.int64)
    missed = missed[: kernels.table_misses(b.block[2], 32, missed)]
    others = (missed, *b.rng.random((2, missed.size)))
    return lambda: kernels.group_table_sums(*b.block, tables, others, True, (b.codes, order), out)


@case
def group_welford(b):
    shape = (b.n_groups, N_GENES)
    found, mean, m2 = np.zeros((2, *shape), dtype=np.int64), np.zeros(shape), np.zeros(shape)
    return lambda: kernels.group_welford(*b.block, b.codes, found, mean, m2)


@case
def group_clipped_sums(b):
    out, highest = np.zeros((b.n_groups, N_GENES, 2)), np.full((b.n_groups, N_GENES), 3.0)
    return lambda: kernels.group_clipped_sums(*b.block, b.codes, highest, out)


@case
def masked_row_sums(b):
    member, out = b.rng.random((N_GENES, 3)) < 0.05, np.empty((b.n, 3))
    return lambda: kernels.masked_row_sums(*b.block, member, out)


@case
def top_row_sums(b):
    ns = np.array([50, 100, 200, 500])
    out = np.empty((b.n, ns.size))
    return lambda: kernels.top_row_sums(b.block[0], b.block[2], N_GENES, ns, out)


@case
def extrema(b):
    out = np.array([np.inf, -np.inf, 0.0, 0.0])
    return lambda: kernels.extrema(b.block[2], out)


@case
def row_totals(b):
    indptr, indices, data = b.block
    counted, single = np.ones(N_GENES, dtype=bool), data.astype(np.float32)
    return lambda: kernels.row_totals(indptr, indices, single, counted, np.full(b.n, np.nan))


@case
def select_columns(b):
    indptr, indices, data = b.block
    column_map = np.full(N_GENES, -1, dtype=np.int32)
    column_map[np.sort(b.rng.choice(N_GENES, N_VARIABLE, replace=False))] = np.arange(N_VARIABLE)
    out = np.empty_like(indptr), np.empty_like(indices), np.empty_like(data)
    return lambda: kernels.select_columns(indptr, indices, data.astype(np.float32), column_map, *out)


@case
def sort_columns(b):
    indptr, indices, data = b.block
    out = np.empty_like(indices), np.empty_like(data)
    return lambda: kernels.sort_columns(indptr, indices[::-1].copy(), data, N_GENES, *out)


@case
def is_increasing(b):
    return lambda: kernels.is_increasing(b.block[0], b.block[1])


@case
def count_before(b):
    rows = np.flatnonzero(b.rng.random(100_000) < 0.1).astype(np.int32)
    out = np.empty(100_001, dtype=np.int32)
    return lambda: kernels.count_before(rows, out)


@case
def column_steps(b):
    _, indices, data = b.variable
    steps = np.array([kernels.STEPS.index(name) for name in ("subtract", "divide", "minimum")])
    operands, single, values = b.rng.random((3, N_VARIABLE)) + 0.5, np.ones(3, dtype=bool), data.copy()
    return lambda: kernels.column_steps(indices, steps, operands, single, values)


@case
def subtract_columns(b):
    _, indices, data = b.variable
    operand, out = b.rng.random(N_VARIABLE), np.empty_like(data)
    return lambda: kernels.subtract_columns(indices, data, operand, out)


@case
def pearson_zeros(b):
    totals, weights = np.unique(b.totals, return_counts=True)
    sums, out = b.gene_sums[0], np.empty((2, N_GENES))
    return lambda: kernels.pearson_zeros(sums, totals, weights * 1.0, sums.sum(), 100.0, np.sqrt(b.n), False, out)


@case
def pearson_deviations(b):
    out, one_batch = np.zeros((1, N_GENES, 2)), np.zeros(b.n, dtype=np.int64)
    sums = b.gene_sums
    model = b.totals, sums, sums.sum(axis=1), 100.0, np.sqrt(b.n), False
    return lambda: kernels.pearson_deviations(*b.block, one_batch, *model, out)


@case
def pearson_residuals(b):
    values = sparse.csr_matrix(b.variable[::-1], shape=(b.n, N_VARIABLE)).toarray()
    sums, out = values.sum(axis=0), np.empty_like(values)
    return lambda: kernels.pearson_residuals(values, values.sum(axis=1), sums, sums.sum(), 100.0, False, out)


@case
def keep_nearest(b):
    candidates, marked, (distances, marks, sizes, bounds) = b.candidates()
    first = distances.copy(), marks.copy(), sizes.copy(), bounds.copy()
    return lambda: kernels.keep_nearest(candidates, marked, *(array.copy() for array in first), K)


@case
def marked_among_nearest(b):
    candidates, marked, kept = b.candidates()
    kernels.keep_nearest(candidates, marked, *kept, K)
    out = np.empty(candidates.shape[0], dtype=np.int64)
    return lambda: kernels.marked_among_nearest(*(array.copy() for array in kept), K, out)


@case
def table_misses(b):
    missed = np.empty(b.block[2].size, dtype=np.int64)
    return lambda: kernels.table_misses(b.block[2], 32, missed)


@case
def look_up(b):
    indptr, _, data = b.block
    table, single = b.rng.random((b.n, 32)), data.astype(np.float32)
    out, missed = np.empty(data.size), np.empty(data.size, dtype=np.int64)
    return lambda: kernels.look_up(indptr, single, table, out, missed)


@case
def encode_deltas(b):
    out = np.empty(b.block[1].size, dtype=np.uint16)
    return lambda: kernels.encode_deltas(b.block[0], b.block[1], out)


@case
def decode_deltas(b):
    indptr, indices, data = b.block
    deltas, lengths = np.empty(indices.size, dtype=np.uint16), np.diff(indptr).astype(np.int32)
    kernels.encode_deltas(indptr, indices, deltas)
    everything = np.empty(0, dtype=np.int32)
    out = np.empty(lengths.size, dtype=np.int64), np.empty_like(indices), np.empty(data.size)
    values = data.astype(np.uint16)
    return lambda: kernels.decode_deltas(lengths, deltas, values, everything.astype(bool), everything, *out)


@case
def encode_counts(b):
    out = np.empty(kernels.LONGEST_CODE * b.block[1].size + 1, dtype=np.uint8)
    return lambda: kernels.encode_counts(*b.block, 6, out)


@case
def decode_counts(b):
    indptr, indices, data = b.block
    code, lengths = np.empty(kernels.LONGEST_CODE * indices.size + 1, np.uint8), np.diff(indptr).astype(np.int32)
    found = kernels.encode_counts(indptr, indices, data, 6, code)
    assert found is not None
    everything = np.empty(0, dtype=np.int32)
    out = np.empty(lengths.size, dtype=np.int64), np.empty_like(indices), np.empty(data.size)
    return lambda: kernels.decode_counts(lengths, code, found, everything.astype(bool), everything, *out)


@case
def narrow_counts(b):
    single, out = b.block[2].astype(np.float32), np.empty(b.block[2].size, dtype=np.uint16)
    return lambda: kernels.narrow_counts(single, out)


@case
def accumulate_gram_pairs(b):
    gram = np.zeros(N_VARIABLE * (N_VARIABLE + 1) // 2)
    return lambda: kernels.accumulate_gram_pairs(*b.variable, N_VARIABLE, gram)


@case
def accumulate_gram_dense(b):
    gram = np.zeros(N_VARIABLE * (N_VARIABLE + 1) // 2)
    return lambda: kernels.accumulate_gram_dense(*b.variable, N_VARIABLE, gram)


@case
def unpack_symmetric(b):
    packed, out = b.rng.random(N_VARIABLE * (N_VARIABLE + 1) // 2), np.empty((N_VARIABLE, N_VARIABLE))
    return lambda: kernels.unpack_symmetric(packed, out)


@case
def right_product(b):
    dense, out = b.rng.random((N_VARIABLE, K)), np.empty((b.n, K))
    return lambda: kernels.right_product(*b.variable, dense, out)


@case
def left_product(b):
    dense, out = b.rng.random((b.n, K)), np.zeros((N_VARIABLE, K))
    return lambda: kernels.left_product(*b.variable, dense, out)


@case
def low_rank(b):
    rows, columns, out = b.rng.random((b.n, 3)), b.rng.random((3, N_VARIABLE)), np.empty((b.n, N_VARIABLE))
    return lambda: kernels.low_rank(rows, columns, out)


@case
def partition_entries(b):
    n_buckets = 8
    bucket_of = (np.arange(N_GENES) * n_buckets // N_GENES).astype(np.int32)
    starts, size = np.empty(n_buckets + 1, dtype=np.int64), b.block[1].size
    out = np.empty(size, np.int32), np.empty(size, np.int32), np.empty(size, np.float32)
    return lambda: kernels.partition_entries(*b.block, b.codes.astype(np.int32), bucket_of, starts, *out)


@case
def scatter_keys(b):
    indptr, indices, data = b.block
    rows, ordered = np.repeat(b.codes, np.diff(indptr)).astype(np.int32), data.astype(np.uint32)
    begin = np.concatenate([[0], np.cumsum(np.bincount(indices, minlength=N_GENES))])[:-1]
    out = np.empty(data.size, dtype=np.uint64)
    return lambda: kernels.scatter_keys(indices, rows, ordered, 0, begin.copy(), out)


@case
def rank_sums(b):
    keys, sizes, sums = b.keys(), np.bincount(b.codes), np.empty(b.n_groups)
    sizes = sizes * (keys.size // b.n + 2)  # as of a column that is longer than caches
    return lambda: kernels.rank_sums(keys, 0, sizes, sums)


@case
def pair_rank_sums(b):
    keys, sizes = b.keys(), np.bincount(b.codes) * (b.block[2].size // b.n + 2)
    sums, ties = np.empty(b.n_groups), np.empty(b.n_groups)
    return lambda: kernels.pair_rank_sums(keys, 0, sizes, 0, sums, ties)


@case
def sorted_choice(b):
    total = int(b.block[2].sum())
    return lambda: kernels.sorted_choice(0, total, total // 2, False)


class Blocks:
    """What the cases are made from."""

    def __init__(self, block, variable, codes):
        self.block, self.variable, self.codes = block, variable, codes
        self.n, self.n_groups, self.rng = codes.size, int(codes.max()) + 1, np.random.default_rng(0)
        indptr, indices, data = block
        self.totals = np.add.reduceat(data, indptr[:-1])
        self.gene_sums = np.bincount(indices, data, minlength=N_GENES)[None]

    def keys(self):
        """Values and groups of all entries as numbers that sort alike, in their order."""
        indptr, _, data = self.block
        groups = np.repeat(self.codes, np.diff(indptr)).astype(np.uint64)
        return np.sort((data.astype(np.uint64) << np.uint64(32)) | groups)

    def candidates(self):
        """Squared distances to a tile of points, some of them marked, and room for the nearest of each row."""
        distances, room = self.rng.random((1000, 1600)), 2 * K + 16
        kept = (
            np.empty((1000, room)),
            np.empty((1000, room), dtype=bool),
            np.zeros(1000, np.int64),
            np.full(1000, np.inf),
        )
        return distances, self.rng.random(1600) < 0.5, kept


@pytest.fixture(scope="module")
def blocks(block, variable, codes):
    return Blocks(block, variable, codes)


@pytest.fixture(scope="module")
def graphs():
    return GraphCases()


def measure(call, n_entries, benchmark):
    call()  # compiles
    benchmark.extra_info["entries"] = n_entries
    benchmark.pedantic(call, rounds=5, iterations=1)


def test_every_kernel_is_measured():
    found = [name for name in kernels.__all__ if callable(getattr(kernels, name))]
    assert sorted([*CASES, *GRAPH_CASES]) == sorted(found)


@pytest.mark.parametrize("name", sorted(CASES))
def test_kernel(name, blocks, benchmark):
    measure(CASES[name](blocks), int(blocks.block[1].size), benchmark)


@pytest.mark.parametrize("name", sorted(GRAPH_CASES))
def test_graph_kernel(name, graphs, benchmark):
    measure(GRAPH_CASES[name](graphs), graphs.n_entries, benchmark)
