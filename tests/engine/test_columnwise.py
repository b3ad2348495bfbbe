from __future__ import annotations

import anndata as ad
import numpy as np
import pytest
import scanpy as sc

from scanpy_oom.engine import columnwise as by_columns
from scanpy_oom.engine.budget import BYTES_PER_ENTRY, LIBRARIES
from scanpy_oom.engine.columnwise import column_parts, reads_by_columns
from scanpy_oom.engine.compute import run
from scanpy_oom.engine.request import Request
from scanpy_oom.engine.runtime import pass_log
from scanpy_oom.errors import MemoryBudgetExceeded
from scanpy_oom.reductions import AxisStatistics, GroupMoments
from scanpy_oom.reductions.extrema import ExtremaReduction
from scanpy_oom.settings import settings

from ..matrices import annotated, counts, dense


@pytest.fixture(params=["float32", "uint16", "int64"])
def both(request, tmp_path, monkeypatch):
    """Column-compressed counts in memory and in a file, read some columns at a time."""
    a = annotated(counts(500, 40, dtype=request.param))
    a.X = a.X.tocsc()
    a.write_h5ad(tmp_path / "a.h5ad", compression="gzip")
    monkeypatch.setattr("scanpy_oom.engine.budget.LARGEST_BLOCK", 500)
    monkeypatch.setattr("scanpy_oom.engine.budget.SMALLEST_BLOCK", 500)
    return ad.read_h5ad(tmp_path / "a.h5ad"), sc.read_h5ad(tmp_path / "a.h5ad", backed="oom")


def test_columns_come_straight_from_the_file_in_any_order(both):
    memory, lazy = both
    columns, rows = [31, 5, 5, 0], np.arange(499, 0, -3)
    np.testing.assert_array_equal(dense(lazy.X[:, columns]), dense(memory.X[:, columns]))
    np.testing.assert_array_equal(dense(lazy[rows, columns].X), dense(memory.X[rows][:, columns]))
    np.testing.assert_array_equal(lazy.obs_vector("gene7"), memory.obs_vector("gene7"))
    assert not lazy.X.source.has_rows


def test_few_columns_read_few_bytes(tmp_path):
    a = annotated(counts(50_000, 60))
    a.X = a.X.tocsc()
    a.write_h5ad(tmp_path / "a.h5ad", compression="gzip")
    lazy = sc.read_h5ad(tmp_path / "a.h5ad", backed="oom")
    lazy.obs_vector("gene7")
    assert lazy.X.source.bytes_read < 0.3 * lazy.X.source.nbytes


def test_statistics_by_columns_equal_those_by_rows(both):
    memory, lazy = both
    lazy = lazy[::2]
    x = lazy.X
    codes = np.arange(250) % 3
    before = pass_log.totals().passes
    results = run([Request(x, [AxisStatistics(), GroupMoments(codes, 3), ExtremaReduction()])])[0]
    assert pass_log.totals().passes == before + 1
    assert pass_log.recent()[-1].bytes_read > 0
    assert not x.source.has_rows
    x.source.read_rows(slice(0, 1))
    assert x.source.has_rows
    want = run([Request(x, [AxisStatistics(), GroupMoments(codes, 3), ExtremaReduction()])])[0]
    for name, values in want[0].known.items():
        np.testing.assert_array_equal(results[0].known[name], values)
    for name in ("n", "total", "total_squared", "nnz", "npos"):
        np.testing.assert_array_equal(getattr(results[1], name), getattr(want[1], name))
    assert results[2] == want[2]
    np.testing.assert_array_equal(want[0].known["col_sum"], np.ravel(dense(memory.X)[::2].sum(axis=0)))


def test_a_chain_whose_totals_are_not_known_goes_by_rows(both):
    memory, lazy = both
    for a in (memory, lazy):
        sc.pp.normalize_total(a, target_sum=10)
        sc.pp.log1p(a)
    np.testing.assert_array_equal(dense(lazy.X), dense(memory.X))
    assert lazy.X.source.has_rows


def test_a_chain_whose_totals_are_known_goes_by_columns(both):
    memory, lazy = both
    if memory.X.dtype != np.float32:  # sums are not taken to survive the cast of integers
        memory.X, lazy.X = memory.X.astype("float32"), lazy.X.astype("float32")
    for a in (memory, lazy):
        sc.pp.calculate_qc_metrics(a, percent_top=None, inplace=True)
        sc.pp.normalize_total(a, target_sum=10)
        sc.pp.log1p(a)
    np.testing.assert_array_equal(dense(lazy.X), dense(memory.X))
    assert not lazy.X.source.has_rows


def test_what_does_not_fit_is_refused_before_it_is_read(both, monkeypatch):
    _, lazy = both
    monkeypatch.setattr(settings, "_memory_limit", 2000)
    with pytest.raises(MemoryError, match="more than the limit"):
        lazy.X.to_memory()


def test_a_column_that_is_too_long_to_be_read_as_a_whole_is_read_by_rows(both, monkeypatch):
    memory, lazy = both
    monkeypatch.setattr(by_columns, "_NO_MATTER", 0)
    longest = int(np.diff(memory.X.indptr).max())
    monkeypatch.setattr(settings, "_memory_limit", LIBRARIES + longest * BYTES_PER_ENTRY + 10**6)
    assert reads_by_columns(lazy.X)
    monkeypatch.setattr(settings, "_memory_limit", LIBRARIES + (longest - 1) * BYTES_PER_ENTRY)
    assert not reads_by_columns(lazy.X)
    monkeypatch.setattr(settings, "_memory_limit", LIBRARIES + 10**6)
    monkeypatch.setattr(by_columns, "BYTES_PER_ENTRY", 10**9)
    with pytest.raises(MemoryBudgetExceeded, match=r"Reading a column of .*:/X that stores \d+ entries would take"):
        list(column_parts(lazy.X, 1))
    monkeypatch.setattr(by_columns, "BYTES_PER_ENTRY", 10**6)
    np.testing.assert_array_equal(np.ravel(lazy.X.sum(axis=0)), np.ravel(memory.X.sum(axis=0)))
    assert lazy.X.source.has_rows
