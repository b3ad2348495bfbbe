"""Loops over columns: after a few turns they come from a copy by columns."""

from __future__ import annotations

import gc
import os
import pickle
import threading

import anndata as ad
import h5py
import numpy as np
import pytest
import scanpy as sc
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse

import scanpy_oom
from scanpy_oom.engine.budget import require
from scanpy_oom.engine.cache import column_copy as bycolumns
from scanpy_oom.matrix import OOMMatrix
from scanpy_oom.memory.ledger import ACCOUNTANT
from scanpy_oom.storage.scratch.file import ScratchSpaceError

from ...comparison import passes_of
from ...matrices import annotated, counts, dense

N = 60


@pytest.fixture(params=["gzip", None])
def both(request, tmp_path):
    """An AnnData in memory and out of memory, compressed and not."""
    memory = annotated(counts(2000, N, density=0.2))
    memory.write_h5ad(tmp_path / "a.h5ad", compression=request.param)
    return memory, sc.read_h5ad(tmp_path / "a.h5ad", backed="oom")


def bytes_of(adata, call) -> int:
    before = adata.X.source.bytes_read
    call()
    return adata.X.source.bytes_read - before


def cluster(adata):
    return (adata.obs["kind"] == "k1").to_numpy()


LOOPS = {
    "view": lambda a: [a[:, g].X.toarray() for g in a.var_names],
    "sparse view": lambda a: [a[:, g].X[:] for g in a.var_names],
    "list": lambda a: [a[:, [g]].X.toarray() for g in a.var_names],
    "obs_vector": lambda a: [a.obs_vector(g) for g in a.var_names],
    "obs_df": lambda a: [sc.get.obs_df(a, [g]).to_numpy() for g in a.var_names],
    "integer": lambda a: [a.X[:, j] for j in range(a.n_vars)],
    "list of one": lambda a: [a.X[:, [j]] for j in range(a.n_vars)],
    "from the end": lambda a: [a.X[:, -j] for j in range(1, a.n_vars)],
    "pairs": lambda a: [a.X[:, [j, (j * 7 + 3) % a.n_vars]] for j in range(a.n_vars)],
    "getcol": lambda a: [a.X.getcol(j) for j in range(a.n_vars)],
    "mean": lambda a: [a[:, g].X.mean() for g in a.var_names],
    "cluster": lambda a: [a[cluster(a), g].X.toarray() for g in a.var_names],
    "mean of a cluster": lambda a: [a[cluster(a), g].X.mean() for g in a.var_names],
    "rows backwards": lambda a: [a[::-1, g].X.toarray() for g in a.var_names],
}
CHAINS = {
    "counts": lambda _: None,
    "logarithms": sc.pp.log1p,
    "normalised": lambda a: (sc.pp.normalize_total(a, target_sum=100), sc.pp.log1p(a), a.X.sum(axis=0)),
    "scaled": lambda a: sc.pp.scale(a, max_value=2),
    "of some rows": lambda a: a._inplace_subset_obs(np.arange(a.n_obs) % 3 > 0),
    "of some columns": lambda a: a._inplace_subset_var(np.arange(a.n_vars) % 2 > 0),
}


@pytest.mark.parametrize("loop", LOOPS.values(), ids=LOOPS)
def test_a_loop_over_columns_makes_three_passes(both, loop):
    memory, lazy = both
    assert passes_of(lambda: loop(lazy)) <= 3
    assert bytes_of(lazy, lambda: loop(lazy)) == 0
    for lazily, in_memory in zip(loop(lazy), loop(memory), strict=True):
        assert sparse.issparse(lazily) == sparse.issparse(in_memory)
        found, expected = dense(lazily), dense(in_memory)
        assert found.dtype == expected.dtype
        assert found.shape == expected.shape
        np.testing.assert_allclose(found, expected, rtol=1e-6 if found.ndim == 0 else 0)


@pytest.mark.parametrize("chain", CHAINS.values(), ids=CHAINS)
@pytest.mark.filterwarnings("ignore:Some cells have zero counts")
def test_the_chain_is_applied_to_what_is_copied(both, chain):
    memory, lazy = both
    for adata in (memory, lazy):
        chain(adata)
    read = lambda a: [dense(a[:, g].X) for g in a.var_names]
    first = read(lazy)
    assert passes_of(lambda: read(lazy)) == 0
    for found, again, expected in zip(first, read(lazy), read(memory), strict=True):
        assert again.dtype == expected.dtype
        np.testing.assert_array_equal(again, found)
        np.testing.assert_allclose(again, expected, rtol=1e-5, atol=1e-6)


def test_columns_that_the_file_stores_as_such_take_no_pass_and_bytes_of_their_own(tmp_path):
    memory = annotated(sparse.csc_matrix(counts(4000, N, density=0.5)))
    memory.write_h5ad(tmp_path / "a.h5ad", compression="gzip")
    lazy = sc.read_h5ad(tmp_path / "a.h5ad", backed="oom")
    for row_first in (False, True):
        if row_first:
            for i in range(5):
                lazy.X[i]
            assert lazy.X.source.has_rows
        read = lambda: [lazy.X[:, j] for j in range(N)]
        assert passes_of(read) == 0
        assert bytes_of(lazy, read) <= lazy.X.source.nbytes
        for j, found in enumerate(read()):
            np.testing.assert_array_equal(found.toarray(), memory.X[:, [j]].toarray())
        for g in lazy.var_names[:5]:
            found, expected = (a[cluster(a), [g]].X.toarray() for a in (lazy, memory))
            np.testing.assert_array_equal(found, expected)
    assert lazy.X.copies.by_columns is None


def test_a_limit_that_was_set_holds_for_columns_too(both):
    _, lazy = both
    [lazy.X[:, j] for j in range(4)]
    scanpy_oom.settings.memory_limit = 1000
    with pytest.raises(scanpy_oom.MemoryBudgetExceeded):
        lazy[:, "gene9"].X.toarray()


def test_bytes_of_a_loop_are_those_of_one_pass(both):
    _, lazy = both
    read = bytes_of(lazy, lambda: [lazy.obs_vector(g) for g in lazy.var_names])
    n = 1 if lazy.X.source.is_slow else 3
    assert read <= n * lazy.X.source.nbytes


def test_the_card_tells_of_the_copy(both):
    _, lazy = both
    [lazy.X[:, j] for j in range(4)]
    assert "by columns, " in str(lazy.oom.explain())


def test_two_columns_make_no_copy(both):
    _, lazy = both
    for g in lazy.var_names[:2]:
        lazy.obs_vector(g)
    assert lazy.X.copies.by_columns is None
    for _ in range(5):
        lazy.obs_vector(lazy.var_names[0])  # which is at hand
    assert lazy.X.copies.by_columns is None


def test_what_reads_all_columns_ends_a_loop(both):
    _, lazy = both
    for g in lazy.var_names[:6]:
        lazy.obs_vector(g)
        lazy.X.max()
    assert lazy.X.copies.by_columns is None


def test_rows_that_are_few_and_side_by_side_make_no_copy(both):
    _, lazy = both
    for g in lazy.var_names[:5]:
        lazy[10:12, g].X.toarray()
    assert lazy.X.copies.by_columns is None


def test_it_is_said_once(both, monkeypatch):
    _, lazy = both
    said: list[str] = []
    monkeypatch.setattr("scanpy_oom.messages.info", said.append)
    [lazy.obs_vector(g) for g in lazy.var_names]
    assert len([text for text in said if "made a copy by columns" in text]) == 1


def test_subset_layers_and_raw_find_the_copy(both):
    memory, lazy = both
    for adata in (memory, lazy):
        adata.raw = adata.copy()
        adata.layers["counts"] = adata.X.copy()
        sc.pp.log1p(adata)
    [lazy.obs_vector(g) for g in lazy.var_names[:4]]
    few = np.arange(5, 50, 3)
    reads = [
        lambda a: a.raw[:, "gene9"].X,
        lambda a: a[:, "gene9"].layers["counts"],
        lambda a: a[100:300].copy()[:, "gene9"].X,
        lambda a: a[:, few].copy()[:, "gene11"].X,
    ]
    for read in reads:
        assert passes_of(lambda read=read: dense(read(lazy))) == 0
        np.testing.assert_array_equal(dense(read(lazy)), dense(read(memory)))


def test_a_copy_of_few_columns_is_made_of_what_was_staged_of_these(tmp_path):
    memory = annotated(counts(2000, N, density=0.2))
    memory.write_h5ad(tmp_path / "a.h5ad", compression="gzip")
    lazy = sc.read_h5ad(tmp_path / "a.h5ad", backed="oom")
    chosen = np.arange(N) % 4 == 1
    memory, lazy = (a[100:1900, chosen].copy() for a in (memory, lazy))
    for adata in (memory, lazy):
        sc.pp.pca(adata, n_comps=3)
    read = lambda a: [a[:, g].X.toarray() for g in a.var_names]
    assert passes_of(lambda: read(lazy)) <= 3
    for found, expected in zip(read(lazy), read(memory), strict=True):
        np.testing.assert_array_equal(found, expected)


def test_without_room_in_scratch_it_goes_on_as_before(both, monkeypatch):
    memory, lazy = both
    monkeypatch.setattr(bycolumns, "room_for_copies", lambda: 1000)
    for j in range(6):
        assert passes_of(lambda j=j: lazy.X[:, j]) == 1
        np.testing.assert_array_equal(lazy.X[:, j].toarray(), memory.X[:, [j]].toarray())
    assert lazy.X.copies.by_columns is None


def test_a_disk_that_is_full_is_no_error(both, monkeypatch):
    memory, lazy = both

    def full(*_):
        msg = "no space"
        raise ScratchSpaceError(msg)

    monkeypatch.setattr("scanpy_oom.storage.scratch.file.ScratchArray.write", full)
    for j in range(5):
        np.testing.assert_array_equal(lazy.X[:, j].toarray(), memory.X[:, [j]].toarray())
    assert lazy.X.copies.by_columns is None


def damage_end(path) -> None:
    """Overwrite the last chunk of the values."""
    with h5py.File(path) as h5:
        data = h5["X/data"]
        last = data.id.get_chunk_info(data.id.get_num_chunks() - 1)
    with path.open("r+b") as file:
        file.seek(last.byte_offset)
        file.write(bytes(last.size))


def test_damage_of_rows_that_are_not_read_is_of_no_account(tmp_path):
    memory = annotated(counts(4000, N, density=0.5))
    memory.write_h5ad(tmp_path / "a.h5ad", compression="gzip")
    damage_end(tmp_path / "a.h5ad")
    lazy = sc.read_h5ad(tmp_path / "a.h5ad", backed="oom")
    for g in lazy.var_names[:6]:
        np.testing.assert_array_equal(lazy[:500, g].X.toarray(), memory[:500, g].X.toarray())
    for _ in range(30):
        np.testing.assert_array_equal(dense(lazy[:1000:2].X), dense(memory[:1000:2].X))
    with pytest.raises(scanpy_oom.CorruptFileError):
        lazy.obs_vector("gene3")


def test_nothing_is_copied_where_stages_are_off(both):
    _, lazy = both
    scanpy_oom.settings.cache = "off"
    assert passes_of(lambda: [lazy.X[:, j] for j in range(5)]) == 5


def test_a_copy_in_memory_makes_way_for_what_needs_it(both, monkeypatch):
    memory, lazy = both
    monkeypatch.setattr("scanpy_oom.engine.cache.compact_copy.lies_in_memory", lambda _: True)
    [lazy.X[:, j] for j in range(4)]
    assert lazy.X.copies.by_columns.takes_memory
    with pytest.raises(scanpy_oom.MemoryBudgetExceeded):
        require(2 * scanpy_oom.settings.memory_limit, "A giant", "Go home.")
    assert lazy.X.copies.by_columns is None
    np.testing.assert_array_equal(lazy.X[:, 9].toarray(), memory.X[:, [9]].toarray())


def test_copies_are_gone_with_the_object(both):
    _, lazy = both
    before = ACCOUNTANT.held.get("copies", 0)
    other = sc.read_h5ad(lazy.X.source.path, backed="oom")
    [other.X[:, j] for j in range(4)]
    assert ACCOUNTANT.held.get("copies", 0) > before
    del other
    gc.collect()
    assert ACCOUNTANT.held.get("copies", 0) == before


def test_columns_of_a_closed_file_are_not_given(both):
    _, lazy = both
    [lazy.X[:, j] for j in range(4)]
    lazy.X.source.close()
    with pytest.raises(ValueError, match="closed"):
        lazy.X[:, 7]


def test_columns_of_a_file_that_has_changed_are_not_given(both):
    _, lazy = both
    [lazy.X[:, j] for j in range(4)]
    with lazy.X.source.path.open("ab") as file:
        file.write(b"more")
    with pytest.raises(scanpy_oom.CorruptFileError, match="changed"):
        lazy.X[:, 7]


def test_a_matrix_is_pickled_without_its_copies(both):
    memory, lazy = both
    [lazy.X[:, j] for j in range(4)]
    again = pickle.loads(pickle.dumps(lazy.X))
    np.testing.assert_array_equal(again[:, 5].toarray(), memory.X[:, [5]].toarray())


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork")
def test_a_forked_process_reads_from_the_copy(both):
    memory, lazy = both
    [lazy.X[:, j] for j in range(4)]
    child = os.fork()
    if not child:
        same = passes_of(lambda: lazy.X[:, 9]) == 0 and (lazy.X[:, 9] != memory.X[:, [9]]).nnz == 0
        os._exit(0 if same else 1)
    assert os.waitpid(child, 0)[1] == 0


def test_threads_share_one_copy(both):
    memory, lazy = both
    found: dict[int, np.ndarray] = {}

    def read(start: int) -> None:
        for j in range(start, N, 4):
            found[j] = lazy.X[:, j].toarray()

    threads = [threading.Thread(target=read, args=(k,)) for k in range(4)]
    before = scanpy_oom.engine.runtime.pass_log.totals().passes
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert scanpy_oom.engine.runtime.pass_log.totals().passes - before <= 8
    for j in range(N):
        np.testing.assert_array_equal(found[j], memory.X[:, [j]].toarray())


def test_entries_for_one_place_are_added_up(tmp_path):
    rng = np.random.default_rng(0)
    rows = [np.sort(rng.integers(0, 8, 6)) for _ in range(300)]
    indptr = np.arange(301) * 6
    values = rng.random(1800).astype("f4")
    x = sparse.csr_matrix((values, np.concatenate(rows).astype("i4"), indptr.astype("i4")), shape=(300, 8))
    ad.AnnData(sparse.csr_matrix(x.shape, dtype="f4")).write_h5ad(tmp_path / "a.h5ad")
    with h5py.File(tmp_path / "a.h5ad", "a") as h5:
        for name in ("data", "indices", "indptr"):
            del h5["X"][name]
            h5["X"][name] = getattr(x, name)
    lazy = sc.read_h5ad(tmp_path / "a.h5ad", backed="oom").X
    first = [lazy.select(None, np.array([0, 1, 2, 3, 4, 5, j])).toarray()[:, -1] for j in range(8)]
    for _ in range(2):
        for j in range(8):
            np.testing.assert_array_equal(lazy[:, j].toarray()[:, 0], first[j])


@settings(max_examples=30)
@given(
    data=st.data(),
    seed=st.integers(0, 2**32 - 1),
    dtype=st.sampled_from(["float32", "float64", "int64", "uint8", "bool"]),
    kind=st.sampled_from(["csr", "csc", "dense"]),
)
def test_copied_columns_are_those_of_the_matrix(tmp_path_factory, data, seed, dtype, kind):
    rng = np.random.default_rng(seed)
    x = counts(50, 20, dtype=dtype, density=rng.random())
    if dtype == "float64":
        x.data = rng.normal(size=x.nnz)
    expected = x.toarray()
    path = tmp_path_factory.mktemp("columns") / "a.h5ad"
    annotated(expected if kind == "dense" else x.asformat(kind)).write_h5ad(path)
    lazy: OOMMatrix = sc.read_h5ad(path, backed="oom").X
    for _ in range(6):
        j = data.draw(st.integers(0, 19))
        np.testing.assert_array_equal(dense(lazy[:, j]).ravel(), expected[:, j])
        some = rng.choice(50, 9)
        np.testing.assert_array_equal(dense(lazy.select(some, np.array([j]))).ravel(), expected[some, j])


def test_no_columns_at_all_are_read_as_ever_after_a_loop(both):
    memory, lazy = both
    for j in range(5):
        lazy.X[:, j]
    assert lazy.X[:, []].shape == memory.X[:, []].shape
    assert lazy[:, []].X.sum() == 0
    assert lazy[:, []].copy().X.sum(axis=1).shape == (2000, 1)
