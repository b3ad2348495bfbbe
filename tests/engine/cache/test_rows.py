"""Loops over rows and over parts of the rows: what one turn has decoded serves the next."""

from __future__ import annotations

import os
import pickle
import threading

import anndata as ad
import numpy as np
import pandas as pd
import pytest
import scanpy as sc
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse

import scanpy_oom
from scanpy_oom.engine.budget import require
from scanpy_oom.engine.cache import rows as parts
from scanpy_oom.memory.ledger import ACCOUNTANT
from scanpy_oom.storage.scratch.file import ScratchSpaceError

from ...comparison import passes_of
from ...matrices import annotated, counts, dense

N = 3000
KINDS = 25


def clustered(x):
    made = annotated(x)
    made.obs["cluster"] = pd.Categorical([f"c{k}" for k in np.arange(x.shape[0]) % KINDS])
    return made


@pytest.fixture(params=["gzip", None])
def both(request, tmp_path):
    """An AnnData in memory and out of memory, compressed and not."""
    memory = clustered(counts(N, 80, density=0.6))
    memory.write_h5ad(tmp_path / "a.h5ad", compression=request.param)
    return memory, sc.read_h5ad(tmp_path / "a.h5ad", backed="oom")


def bytes_of(adata, call) -> int:
    before = adata.X.source.bytes_read
    call()
    return adata.X.source.bytes_read - before


LOOPS = {
    "row": lambda a: [a.X[i] for i in range(a.n_obs)],
    "row in a list": lambda a: [a.X[[i]] for i in range(a.n_obs)],
    "getrow": lambda a: [a.X.getrow(i) for i in range(a.n_obs)],
    "from the end": lambda a: [a.X[-i] for i in range(1, a.n_obs)],
    "pairs": lambda a: [a.X[i : i + 2] for i in range(a.n_obs - 1)],
    "view": lambda a: [a[i].X.toarray() for i in range(0, a.n_obs, 7)],
    "value": lambda a: [a.X[i, i % a.n_vars] for i in range(a.n_obs)],
}
CHAINS = {
    "counts": lambda _: None,
    "logarithms": sc.pp.log1p,
    "normalised": lambda a: (sc.pp.normalize_total(a, target_sum=100), sc.pp.log1p(a)),
    "scaled": lambda a: sc.pp.scale(a, max_value=2),
    "of some columns": lambda a: a._inplace_subset_var(np.arange(a.n_vars)[::-3]),
}


@pytest.mark.parametrize("loop", LOOPS.values(), ids=LOOPS)
def test_a_loop_over_rows_reads_the_file_once(both, loop):
    memory, lazy = both
    nbytes = lazy.X.source.nbytes
    before = lazy.X.source.bytes_read
    assert passes_of(lambda: loop(lazy)) == 0
    assert lazy.X.source.bytes_read - before <= nbytes
    for found, expected in zip(loop(lazy), loop(memory), strict=True):
        assert type(found) is type(expected)
        np.testing.assert_array_equal(dense(found), dense(expected))


@pytest.mark.parametrize("chain", CHAINS.values(), ids=CHAINS)
@pytest.mark.filterwarnings("ignore:Some cells have zero counts")
def test_the_chain_is_applied_to_rows(both, chain):
    memory, lazy = both
    for adata in (memory, lazy):
        chain(adata)
    for i in (7, 3, 4, 5, 2000, 2001, 2002, 4):
        found, expected = dense(lazy.X[i]), dense(memory.X[i])
        assert found.dtype == expected.dtype
        assert found.shape == expected.shape
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.filterwarnings("ignore:Some cells have zero counts")
def test_totals_of_rows_that_are_not_known_are_found_on_the_way(both):
    memory, lazy = both
    for adata in (memory, lazy):
        sc.pp.normalize_total(adata, target_sum=100)
    assert passes_of(lambda: [lazy.X[i] for i in range(20)]) == 0
    for i in range(20):
        np.testing.assert_array_equal(dense(lazy.X[i]), dense(memory.X[i]))


def test_it_is_said_where_a_row_has_no_counts(both):
    _, lazy = both
    sc.pp.normalize_total(lazy, target_sum=100)
    with pytest.warns(UserWarning, match="Some cells have zero counts"):
        lazy[[3]].X.toarray()


def test_rows_of_a_file_that_stores_columns_come_from_a_copy_by_rows(tmp_path, monkeypatch):
    memory = clustered(sparse.csc_matrix(counts(N, 80, density=0.6)))
    memory.write_h5ad(tmp_path / "a.h5ad", compression="gzip")
    lazy, other = (sc.read_h5ad(tmp_path / "a.h5ad", backed="oom") for _ in range(2))
    assert passes_of(lambda: [lazy.X[i] for i in range(100)]) <= 3
    assert bytes_of(lazy, lambda: [lazy.X[i] for i in range(100)]) == 0

    def full(*_):
        msg = "no space"
        raise ScratchSpaceError(msg)

    monkeypatch.setattr("scanpy_oom.storage.scratch.transpose.check_scratch_space", full)
    for i in range(6):
        np.testing.assert_array_equal(dense(lazy.X[i]), dense(memory.X[i]))
        np.testing.assert_array_equal(dense(other.X[i]), dense(memory.X[i]))
    assert not other.X.source.has_rows


def test_one_row_reads_no_more_than_what_it_lies_in(both):
    _, lazy = both
    assert bytes_of(lazy, lambda: lazy.X[1500]) < lazy.X.source.nbytes // 2


def test_bytes_of_rows_are_counted(both):
    _, lazy = both
    lazy.X.indptr  # noqa: B018 - which is read first
    before, read = scanpy_oom.engine.runtime.pass_log.totals().bytes_read, lazy.X.source.bytes_read
    [lazy.X[i] for i in range(30)]
    assert scanpy_oom.engine.runtime.pass_log.totals().bytes_read - before == lazy.X.source.bytes_read - read > 0


def test_rows_in_no_order_are_staged_before_they_take_more_than_two_passes(both):
    memory, lazy = both
    order = np.random.default_rng(0).permutation(N)
    read = bytes_of(lazy, lambda: [lazy.X[i] for i in order])
    if lazy.X.source.is_slow:
        assert read <= 2.2 * lazy.X.source.nbytes
    for i in order[:50]:
        np.testing.assert_array_equal(dense(lazy.X[i]), dense(memory.X[i]))


def test_clusters_take_one_pass_and_reads_of_their_own_rows(both):
    memory, lazy = both
    mean = lambda a: [a[a.obs["cluster"] == k].X.mean(axis=0) for k in a.obs["cluster"].cat.categories]
    before = scanpy_oom.engine.runtime.pass_log.totals().passes
    read = bytes_of(lazy, lambda: mean(lazy))
    passes = scanpy_oom.engine.runtime.pass_log.recent()[before - scanpy_oom.engine.runtime.pass_log.totals().passes :]
    if lazy.X.source.is_slow:
        assert sorted(p.n_rows for p in passes) == [N // KINDS] * KINDS + [N]
        assert read <= 2 * lazy.X.source.nbytes
    else:
        assert [p.n_rows for p in passes] == [N // KINDS] * KINDS
    assert bytes_of(lazy, lambda: mean(lazy)) <= (0 if lazy.X.source.is_slow else read)
    for found, expected in zip(mean(lazy), mean(memory), strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-6)


def test_rows_come_from_a_copy_of_some_rows_alone(both):
    memory, lazy = (adata[300:700].copy() for adata in both)
    lazy.X.getnnz(axis=0)  # which leaves a copy of these rows
    for i in (0, 3, 4, 250, 399):
        np.testing.assert_array_equal(dense(lazy.X[i]), dense(memory.X[i]))
    few = lazy[5:9].copy()
    few.X.getnnz(axis=0)
    np.testing.assert_array_equal(dense(few.X), dense(memory.X[5:9]))


def test_parts_that_follow_one_another_leave_nothing(both):
    _, lazy = both
    assert passes_of(lambda: [lazy[i : i + 500].X.toarray() for i in range(0, N, 500)]) == N // 500
    assert not list(lazy.X.copies)


def test_rows_make_way_for_what_needs_the_memory(both):
    memory, lazy = both
    [lazy.X[i] for i in range(4)]
    assert lazy.X.copies.loop.rows.nbytes > 0
    with pytest.raises(scanpy_oom.MemoryBudgetExceeded):
        require(2 * scanpy_oom.settings.memory_limit, "A giant", "Go home.")
    assert lazy.X.copies.loop.rows.nbytes == 0
    np.testing.assert_array_equal(dense(lazy.X[5]), dense(memory.X[5]))


def test_rows_that_are_kept_are_few(both, monkeypatch):
    memory, lazy = both
    monkeypatch.setattr(parts, "BLOCK", 1000)
    monkeypatch.setattr("scanpy_oom.engine.cache.columns.CAPACITY", 40_000)
    before = ACCOUNTANT.held.get("caches", 0)
    for i in range(N // 2):
        np.testing.assert_array_equal(dense(lazy.X[i]), dense(memory.X[i]))
    assert lazy.X.copies.loop.rows.nbytes <= 40_000
    assert ACCOUNTANT.held.get("caches", 0) - before <= 3_000_000


def test_what_is_done_to_a_row_does_not_change_the_next(both):
    memory, lazy = both
    for _ in range(3):
        row = lazy.X[5]
        row.data[:] = -1
        row.indices[:] = 0
    np.testing.assert_array_equal(dense(lazy.X[5]), dense(memory.X[5]))


def test_a_limit_that_was_set_holds_for_rows_too(both):
    _, lazy = both
    scanpy_oom.settings.memory_limit = 100
    with pytest.raises(scanpy_oom.MemoryBudgetExceeded):
        lazy.X[5]


def test_rows_of_a_closed_or_changed_file_are_not_given(both):
    _, lazy = both
    [lazy.X[i] for i in range(4)]
    other = sc.read_h5ad(lazy.X.source.path, backed="oom")
    [other.X[i] for i in range(4)]
    lazy.X.source.close()
    with pytest.raises(ValueError, match="closed"):
        lazy.X[3]
    with other.X.source.path.open("ab") as file:
        file.write(b"more")
    with pytest.raises(scanpy_oom.CorruptFileError, match="changed"):
        other.X[3]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork")
def test_pickles_and_forks_read_rows(both):
    memory, lazy = both
    [lazy.X[i] for i in range(4)]
    again = pickle.loads(pickle.dumps(lazy.X))
    np.testing.assert_array_equal(dense(again[9]), dense(memory.X[9]))
    child = os.fork()
    if not child:
        os._exit(0 if (lazy.X[9] != memory.X[9]).nnz == 0 else 1)
    assert os.waitpid(child, 0)[1] == 0


def test_threads_read_rows_at_once(both):
    memory, lazy = both
    wrong: list[int] = []

    def read(start: int) -> None:
        wrong.extend(i for i in range(start, N, 40) if (lazy.X[i] != memory.X[i]).nnz)

    threads = [threading.Thread(target=read, args=(k,)) for k in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


@settings(max_examples=30)
@given(
    data=st.data(),
    seed=st.integers(0, 2**32 - 1),
    dtype=st.sampled_from(["float32", "float64", "int64"]),
    kind=st.sampled_from(["csr", "csc", "dense"]),
    block=st.sampled_from([1, 7, 100]),
)
def test_rows_are_those_of_the_matrix(tmp_path_factory, data, seed, dtype, kind, block):
    rng = np.random.default_rng(seed)
    x = counts(50, 20, dtype=dtype, density=rng.random())
    expected = x.toarray()
    path = tmp_path_factory.mktemp("rows") / "a.h5ad"
    annotated(expected if kind == "dense" else x.asformat(kind)).write_h5ad(path, compression="gzip")
    lazy = sc.read_h5ad(path, backed="oom").X
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(parts, "BLOCK", block)
        for _ in range(12):
            i, n = data.draw(st.integers(0, 49)), data.draw(st.integers(1, 4))
            np.testing.assert_array_equal(dense(lazy[i]).ravel(), expected[i])
            np.testing.assert_array_equal(dense(lazy[i : i + n]), expected[i : i + n])
            columns = rng.choice(20, 5)
            np.testing.assert_array_equal(dense(lazy.select(np.array([i]), columns)), expected[[i]][:, columns])


def test_rows_of_sparse_arrays_are_vectors(tmp_path):
    x = sparse.csr_array(counts(40, 20))
    annotated(x).write_h5ad(tmp_path / "a.h5ad")
    with ad.settings.override(use_sparse_array_on_read=True):
        lazy = sc.read_h5ad(tmp_path / "a.h5ad", backed="oom").X
    for i in range(5):
        found, expected = lazy[i], x[i]
        assert found.shape == expected.shape
        np.testing.assert_array_equal(dense(found), dense(expected))
