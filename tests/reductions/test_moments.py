"""What two matrices of a pass sum in one loop is what each sums by itself."""

from __future__ import annotations

import sys

import numpy as np
import pytest
import scanpy as sc
from anndata import AnnData
from scipy import sparse

from scanpy_oom import to_oom
from scanpy_oom.engine.block import BlockReader
from scanpy_oom.engine.budget import ENTRIES_PER_ROW
from scanpy_oom.engine.compute import run
from scanpy_oom.engine.request import Request
from scanpy_oom.matrix.transforms import ByColumn, Elementwise
from scanpy_oom.matrix.transforms.program import N_TABLE
from scanpy_oom.reductions import GroupMoments, moments

from ..matrices import counts

CODES = np.arange(60) % 3


@pytest.fixture(autouse=True)
def _rows_have_many_entries(monkeypatch):
    monkeypatch.setattr(moments, "MANY", 0)


@pytest.fixture(params=["float32", "int32", "fractions", "many", "normalized"])
def matrices(request):
    x = counts(60, 30, dtype=request.param if request.param in {"float32", "int32"} else "float32")
    if request.param == "fractions":
        x.data[::2] += 0.5
    if request.param == "many":  # more than a table holds
        x.data[::3] += N_TABLE
    first = to_oom(x).transform(Elementwise("log1p"))
    if request.param == "normalized":
        adata = AnnData(to_oom(x))
        sc.pp.normalize_total(adata, target_sum=50)
        first = adata.X.transform(Elementwise("log1p"))
    return first, first.transform(Elementwise("expm1"))


def requests(matrices, *reductions):
    return [Request(matrix, [reduction]) for matrix, reduction in zip(matrices, reductions, strict=True)]


def is_pair(these):
    for request in these:
        for reduction in request.reductions:
            reduction.prepare(request.matrix)
    return GroupMoments.fuse(these, [BlockReader(request.matrix) for request in these]) is not None


def sums(codes=CODES, n=3, *, counted=False):
    return GroupMoments(codes, n, counted=counted)


def test_sums_are_those_of_each(matrices):
    both = requests(matrices, sums(), sums())
    assert is_pair(both)
    for (found,), matrix in zip(run(both), matrices, strict=True):
        want = run([Request(matrix, [sums(counted=True)])])[0][0]
        np.testing.assert_array_equal(found.total, want.total)
        np.testing.assert_array_equal(found.total_squared, want.total_squared)
        np.testing.assert_array_equal(found.n, want.n)
        assert found.nnz.size == found.npos.size == 0
        assert found.column_statistics(0).keys() == {"col_sum", "col_sumsq"}


def test_sums_by_columns_are_those_by_rows():
    matrix = counts(60, 30)
    found = [run([Request(to_oom(x), [sums()])])[0][0] for x in (matrix, matrix.tocsc())]
    np.testing.assert_allclose(found[0].total, found[1].total)
    np.testing.assert_allclose(found[0].total_squared, found[1].total_squared)


@pytest.mark.parametrize(
    "other",
    [
        lambda: sums(counted=True),
        lambda: sums(np.zeros(60, dtype=int)),
        lambda: sums(n=4),
    ],
    ids=["counts", "other groups", "more groups"],
)
def test_what_is_not_summed_alike_is_no_pair(matrices, other):
    assert not is_pair(requests(matrices, sums(), other()))


def test_matrices_whose_zeros_become_something_else_are_no_pair(matrices):
    first, second = matrices
    assert not is_pair(requests((first, second.transform(Elementwise("add", 1.0))), sums(), sums()))


def test_matrices_whose_values_depend_on_their_columns_are_no_pair(matrices):
    first, second = matrices
    by_column = second.transform(ByColumn("divide", np.full(30, 2.0), np.dtype("float32")))
    assert not is_pair(requests((first, by_column), sums(), sums()))


def test_matrices_of_other_columns_are_no_pair(matrices):
    first, second = matrices
    assert not is_pair(requests((first.select(None, np.arange(30)), second), sums(), sums()))


def test_matrices_with_few_entries_a_row_are_no_pair(matrices, monkeypatch):
    stored = matrices[0].stored
    for least, want in ((stored / 60, True), (stored / 60 + 0.1, False)):
        monkeypatch.setattr(moments, "MANY", least)
        assert is_pair(requests(matrices, sums(), sums())) == want


def test_rows_that_store_little_count_for_what_is_looked_up_in(monkeypatch):
    seen = []
    update = moments.MomentsOfTwo.update

    def spy(self, partials, shown, rows):
        seen.append(rows.source_rows.size)
        return update(self, partials, shown, rows)

    monkeypatch.setattr(moments.MomentsOfTwo, "update", spy)
    monkeypatch.setattr(sys.modules["scanpy_oom.engine.thread_pass"], "LARGEST_BLOCK", 20 * ENTRIES_PER_ROW)
    matrix = to_oom(sparse.csr_matrix((3000, 3), dtype="f4")).transform(Elementwise("log1p"))
    of_all = [sums(np.zeros(3000, dtype=int), 1) for _ in range(2)]
    run(requests((matrix, matrix.transform(Elementwise("expm1"))), *of_all))
    assert sum(seen) == 3000
    assert max(seen) == 20
