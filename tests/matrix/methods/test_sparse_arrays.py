"""The arrays of which SciPy's matrices consist."""

from __future__ import annotations

import pickle

import anndata as ad
import h5py
import numpy as np
import pytest
import scanpy as sc
from scipy import sparse

import scanpy_oom
from scanpy_oom.engine.budget import require
from scanpy_oom.matrix.methods import sparse_arrays as arrays
from scanpy_oom.memory.ledger import ACCOUNTANT

from ...comparison import passes_of
from ...matrices import annotated, counts


@pytest.fixture(params=["csr", "csc"])
def both(request, tmp_path):
    """An AnnData in memory and out of memory."""
    memory = annotated(counts(300, 40, density=0.2))
    memory.X = memory.X.asformat(request.param)
    memory.write_h5ad(tmp_path / "a.h5ad", compression="gzip")
    return memory, sc.read_h5ad(tmp_path / "a.h5ad", backed="oom")


def assert_same_arrays(memory, lazy):
    for name in ("indptr", "indices", "data"):
        found, expected = getattr(lazy, name), getattr(memory, name)
        assert found.dtype == expected.dtype, name
        np.testing.assert_array_equal(found, expected, err_msg=name)
        assert not found.flags.writeable


def bytes_of(adata, call) -> int:
    before = adata.X.source.bytes_read
    call()
    return adata.X.source.bytes_read - before


def test_arrays_are_those_in_memory(both):
    memory, lazy = both
    assert_same_arrays(memory.X, lazy.X)


def test_where_rows_start_is_known_without_a_pass(both):
    memory, lazy = both
    assert passes_of(lambda: lazy.X.indptr) == 0
    few = slice(30, 200, 3)
    sc.pp.log1p(lazy)
    view = lazy[few].X if lazy.X.format == "csr" else lazy[:, few].X
    expected = memory[few].X if lazy.X.format == "csr" else memory[:, few].X
    assert passes_of(lambda: view.indptr) == 0
    np.testing.assert_array_equal(view.indptr, expected.indptr)
    assert view.indptr.dtype == expected.indptr.dtype


def test_where_rows_start_takes_a_pass_where_the_source_does_not_tell(both):
    memory, lazy = both
    chosen = (slice(None), [3, 17, 4]) if lazy.X.format == "csr" else ([3, 17, 4], slice(None))
    np.testing.assert_array_equal(lazy[chosen].X.indptr, memory[chosen].X.indptr)
    positive, expected = lazy.X > 1, memory.X > 1
    np.testing.assert_array_equal(positive.indptr, expected.indptr)


def test_values_row_by_row_are_read_once(both):
    memory, lazy = both
    n = memory.X.indptr.size - 1
    read = lambda X: [X.data[X.indptr[i] : X.indptr[i + 1]] for i in range(n)]
    assert passes_of(lambda: read(lazy.X)) <= 1
    assert bytes_of(lazy, lambda: read(lazy.X)) == 0
    for found, expected in zip(read(lazy.X), read(memory.X), strict=True):
        np.testing.assert_array_equal(found, expected)
    assert passes_of(lambda: lazy.X.indices) == 0


def test_what_was_made_of_a_matrix_has_values_of_its_own(both):
    memory, lazy = both
    lazy.X.data  # noqa: B018 - which are kept
    for adata in (memory, lazy):
        sc.pp.log1p(adata)
    assert_same_arrays(memory.X, lazy.X)


def test_arrays_make_way_for_what_needs_the_memory(both):
    _, lazy = both
    before = ACCOUNTANT.held.get("caches", 0)
    data = np.asarray(lazy.X.data)
    held = ACCOUNTANT.held.get("caches", 0) - before
    assert held >= data.nbytes
    with pytest.raises(scanpy_oom.MemoryBudgetExceeded):
        require(2 * scanpy_oom.settings.memory_limit, "A giant", "Go home.")
    assert ACCOUNTANT.held.get("caches", 0) <= before
    np.testing.assert_array_equal(lazy.X.data, data)


def test_arrays_that_take_much_of_the_limit_are_not_kept(both, monkeypatch):
    memory, lazy = both
    share = int(ACCOUNTANT.available() // memory.X.data.nbytes)
    monkeypatch.setattr(arrays, "SHARE", share)
    before = ACCOUNTANT.held.get("caches", 0)
    assert_same_arrays(memory.X, lazy.X)
    assert ACCOUNTANT.held.get("caches", 0) - before < memory.X.data.nbytes


def test_what_is_stored_twice_has_offsets_that_go_with_its_values(tmp_path):
    x = sparse.csr_matrix(
        (np.array([1, 2, 3, 4, 5], "f4"), np.array([1, 1, 0, 2, 2], "i4"), np.array([0, 2, 2, 5], "i4")), shape=(3, 4)
    )
    ad.AnnData(sparse.csr_matrix(x.shape, dtype="f4")).write_h5ad(tmp_path / "a.h5ad")
    with h5py.File(tmp_path / "a.h5ad", "a") as h5:
        for name in ("data", "indices", "indptr"):
            del h5["X"][name]
            h5["X"][name] = getattr(x, name)
    lazy = ad.read_h5ad(tmp_path / "a.h5ad", backed="oom").X
    np.testing.assert_array_equal(lazy.indptr, x.indptr)
    assert lazy.data.size == lazy.indices.size == x.nnz
    built = sparse.csr_matrix((lazy.data, lazy.indices, lazy.indptr), shape=x.shape)
    np.testing.assert_array_equal(built.toarray(), x.toarray())


def test_arrays_are_not_pickled(both):
    memory, lazy = both
    lazy.X.data  # noqa: B018 - which are kept
    content = pickle.dumps(lazy.X)
    assert len(content) < memory.X.data.nbytes
    assert_same_arrays(memory.X, pickle.loads(content))
