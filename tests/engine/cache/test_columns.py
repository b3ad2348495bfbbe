"""Columns that were read a moment ago are not read again."""

from __future__ import annotations

import gc

import numpy as np
import pytest
import scanpy as sc
from hypothesis import given, settings
from hypothesis import strategies as st

import scanpy_oom
from scanpy_oom.engine.budget import require
from scanpy_oom.engine.cache import columns as recent
from scanpy_oom.memory.ledger import ACCOUNTANT

from ...comparison import passes_of
from ...matrices import annotated, counts, dense

GENES = ["gene3", "gene17", "gene4"]


@pytest.fixture
def both(tmp_path):
    """An AnnData in memory and out of memory."""
    memory = annotated(counts(2000, 60, density=0.2))
    memory.var_names = [f"gene{k}" for k in range(60)]
    memory.write_h5ad(tmp_path / "a.h5ad", compression="gzip")
    return memory, sc.read_h5ad(tmp_path / "a.h5ad", backed="oom")


def bytes_of(adata, call) -> int:
    before = adata.X.source.bytes_read
    call()
    return adata.X.source.bytes_read - before


READS = {
    "a view": lambda a: a[:, GENES].X.toarray(),
    "one after the other": lambda a: [a[:, gene].X.toarray() for gene in GENES],
    "vectors": lambda a: [a.obs_vector(gene) for gene in GENES],
    "a table": lambda a: sc.get.obs_df(a, GENES),
    "positions": lambda a: a.X[:, [3, 4, 17]],
    "some rows": lambda a: a[50:900:3, GENES[1:]].X.toarray(),
    "rows by mask": lambda a: a[(a.obs["batch"] == a.obs["batch"].iloc[0]).to_numpy(), GENES].X.toarray(),
    "other order": lambda a: a[:, GENES[::-1]].X.toarray(),
    "sums": lambda a: a[:, GENES].X.sum(axis=0),
}


@pytest.mark.parametrize("read", READS.values(), ids=READS)
def test_columns_are_read_once(both, read):
    memory, lazy = both
    assert bytes_of(lazy, lambda: lazy[:, GENES].X.toarray()) > 0
    assert passes_of(lambda: read(lazy)) == 0
    assert bytes_of(lazy, lambda: read(lazy)) == 0
    for found, expected in zip(np.atleast_1d(read(lazy)), np.atleast_1d(read(memory)), strict=True):
        np.testing.assert_array_equal(dense(found), dense(expected))


def test_columns_of_several_reads_serve_one(both):
    _, lazy = both
    assert passes_of(lambda: [lazy.obs_vector(gene) for gene in GENES[:2]]) == 2
    assert passes_of(lambda: lazy[:, GENES[:2]].X.toarray()) == 0
    assert passes_of(lambda: lazy[:, GENES].X.toarray()) == 1


def test_what_is_kept_is_what_the_file_stores_whatever_was_made_of_it(both):
    memory, lazy = both
    lazy[:, GENES].X.toarray()
    for adata in (memory, lazy):
        sc.pp.log1p(adata)
        adata.raw = adata
    assert passes_of(lambda: lazy.raw[:, GENES].X.toarray()) == 0
    np.testing.assert_array_equal(dense(lazy.raw[:, GENES].X), dense(memory.raw[:, GENES].X))


def test_columns_of_some_rows_do_not_stand_for_those_of_all(both):
    memory, lazy = both
    few = lazy[100:300].copy()
    few[:, GENES].X.toarray()
    assert passes_of(lambda: few[:, GENES].X.toarray()) == 0
    assert passes_of(lambda: lazy[:, GENES].X.toarray()) == 1
    np.testing.assert_array_equal(dense(lazy[:, GENES].X), dense(memory[:, GENES].X))


def test_totals_that_are_not_known_are_found_first(both):
    memory, lazy = both
    lazy[:, GENES].X.toarray()
    for adata in (memory, lazy):
        sc.pp.normalize_total(adata, target_sum=100)
    assert passes_of(lambda: lazy[:, GENES].X.toarray()) == 1
    np.testing.assert_array_equal(dense(lazy[:, GENES].X), dense(memory[:, GENES].X))


@pytest.mark.parametrize("plot", ["dotplot", "stacked_violin", "matrixplot", "heatmap", "tracksplot", "violin"])
def test_the_next_plot_of_the_same_genes_reads_nothing(both, plot):
    _, lazy = both
    draw = lambda: getattr(sc.pl, plot)(lazy, GENES, groupby="kind", show=False)
    assert passes_of(draw) == 1
    assert passes_of(draw) == 0


def test_no_more_is_kept_than_there_is_room_for(both, monkeypatch):
    _, lazy = both
    monkeypatch.setattr(recent, "CAPACITY", 1000)
    lazy[:, GENES].X.toarray()
    assert ACCOUNTANT.held.get("caches", 0) >= lazy.X.copies.recent.nbytes == 0
    assert passes_of(lambda: lazy[:, GENES].X.toarray()) == 1


def test_many_columns_are_not_kept(both):
    _, lazy = both
    assert passes_of(lambda: lazy[:, :40].X.toarray()) == passes_of(lambda: lazy[:, :40].X.toarray()) == 1


def test_columns_make_way_for_what_needs_the_memory(both):
    _, lazy = both
    lazy[:, GENES].X.toarray()
    kept = lazy.X.copies.recent.nbytes
    assert kept > 0
    with pytest.raises(scanpy_oom.MemoryBudgetExceeded):
        require(2 * scanpy_oom.settings.memory_limit, "A giant", "Go home.")
    assert lazy.X.copies.recent.nbytes == 0
    assert passes_of(lambda: lazy[:, GENES].X.toarray()) == 1


def test_columns_are_gone_with_the_object(both):
    _, lazy = both
    before = ACCOUNTANT.held.get("caches", 0)
    other = sc.read_h5ad(lazy.X.source.path, backed="oom")
    other[:, GENES].X.toarray()
    assert ACCOUNTANT.held.get("caches", 0) > before
    del other
    gc.collect()
    assert ACCOUNTANT.held.get("caches", 0) == before


def test_columns_of_a_closed_file_are_not_given(both):
    _, lazy = both
    lazy[:, GENES].X.toarray()
    lazy.X.source.close()
    with pytest.raises(ValueError, match="closed"):
        lazy[:, GENES].X.toarray()


@settings(max_examples=40)
@given(data=st.data(), seed=st.integers(0, 2**32 - 1), dtype=st.sampled_from(["float32", "float64", "int64"]))
def test_kept_columns_are_those_of_the_matrix(tmp_path_factory, data, seed, dtype):
    rng = np.random.default_rng(seed)
    x = counts(50, 20, dtype=dtype, density=rng.random())
    if dtype == "float64":
        x.data = rng.normal(size=x.nnz)
    path = tmp_path_factory.mktemp("recent") / "a.h5ad"
    annotated(x).write_h5ad(path)
    rows = data.draw(st.none() | st.permutations(range(50)).map(lambda order: np.array(order[:30])))
    lazy = sc.read_h5ad(path, backed="oom").X
    lazy = lazy if rows is None else lazy.select(rows)
    expected = x.toarray() if rows is None else x.toarray()[rows]
    columns = st.lists(st.integers(0, 19), min_size=1, max_size=6, unique=True)
    for _ in range(3):
        chosen = data.draw(columns)
        np.testing.assert_array_equal(lazy.select(None, np.array(chosen)).toarray(), expected[:, chosen])
        some = np.sort(rng.choice(lazy.shape[0], 9, replace=False))
        np.testing.assert_array_equal(lazy.select(some, np.array(chosen)).toarray(), expected[some][:, chosen])
