"""Assignments to given places cost a patch, or a pass and a copy in scratch; never the whole matrix in memory."""

from __future__ import annotations

import operator
import pickle

import numpy as np
import pytest
import scanpy as sc
from scipy import sparse

from scanpy_oom import MemoryBudgetExceeded
from scanpy_oom import settings as oom_settings
from scanpy_oom.engine.runtime.pass_log import totals
from scanpy_oom.engine.sources.patched import PatchedSource
from scanpy_oom.engine.sources.scratch import ScratchSource

from ...matrices import counts, dense, oom

pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.fixture
def pair():
    x = counts(400, 60, density=0.3)
    return x, oom(x)


def test_a_few_places_read_nothing(pair):
    memory, lazy = pair
    passes = totals().passes
    for x in pair:
        x[3] = 1
        x[[5, 7], :4] = 2
        x[:, 9] = 0
        x[17, 3] = 8
    assert totals().passes == passes
    assert isinstance(lazy.source, PatchedSource)
    assert lazy.source.depth == 1
    np.testing.assert_array_equal(dense(lazy), dense(memory))


def test_many_places_are_written_to_scratch_in_one_pass(pair, monkeypatch):
    memory, lazy = pair
    monkeypatch.setattr("scanpy_oom.engine.sources.patched.IN_MEMORY", 1000)
    passes = totals().passes
    lazy[:, [1, 2]] = 5
    assert totals().passes == passes + 1
    assert isinstance(lazy.source, ScratchSource)
    memory[:, [1, 2]] = 5
    np.testing.assert_array_equal(dense(lazy), dense(memory))


def test_places_of_steps_in_between_become_a_copy_before_they_are_a_tower(pair):
    memory, lazy = pair
    for i in range(12):
        for x in pair:
            x[i, 3] = i + 1
            operator.imul(x, 2)
        assert not isinstance(lazy.source, PatchedSource) or lazy.source.depth <= 4
    np.testing.assert_array_equal(dense(lazy), dense(memory))


def test_what_follows_an_assignment_is_that_of_memory(pair):
    memory, lazy = pair
    for x in pair:
        x[10:20] = 0
        x[:, 4] = 1
    for i in range(2):
        np.testing.assert_allclose(np.asarray(lazy.sum(axis=i)), np.asarray(memory.sum(axis=i)))
    rows = np.random.default_rng(0).permutation(400)[:90]
    np.testing.assert_array_equal(dense(lazy.select(rows, np.array([4, 9, 2]))), dense(memory[rows][:, [4, 9, 2]]))
    np.testing.assert_array_equal(dense(lazy.T), dense(memory.T))
    for x in (sc.AnnData(memory), held := sc.AnnData(lazy)):
        sc.pp.normalize_total(x, target_sum=100)
        sc.pp.log1p(x)
    np.testing.assert_allclose(dense(held.X), dense(x.X) if x is held else dense(memory), rtol=1e-6)


def test_a_transposed_matrix_is_changed_alone(pair):
    memory, lazy = pair
    turned, other = memory.T.tocsr(), lazy.T
    for x in (turned, other):
        x[3] = 7
        x[:, 5:9] = 0
    np.testing.assert_array_equal(dense(other), dense(turned))
    np.testing.assert_array_equal(dense(lazy), dense(memory))


def test_rows_that_come_twice_are_rows_apart(pair):
    memory, lazy = pair
    memory, lazy = memory[[1, 1, 2, 1]], lazy.select(np.array([1, 1, 2, 1]))
    for x in (memory, lazy):
        x[1, :5] = 9
    np.testing.assert_array_equal(dense(lazy), dense(memory))


def test_a_patch_can_be_pickled(pair):
    memory, lazy = pair
    for x in pair:
        x[3] = 1
    np.testing.assert_array_equal(dense(pickle.loads(pickle.dumps(lazy))), dense(memory))


@pytest.mark.parametrize("kind", [sparse.csr_matrix, sparse.csc_matrix, np.asarray])
def test_what_was_changed_is_written_as_it_is_held(kind, tmp_path):
    x = counts(50, 20)
    adata = sc.AnnData(oom(x.toarray() if kind is np.asarray else kind(x)))
    adata.X[3, 4] = 7
    adata.write_h5ad(tmp_path / "a.h5ad")
    found = sc.read_h5ad(tmp_path / "a.h5ad").X
    x[3, 4] = 7
    assert getattr(found, "format", "dense") == getattr(adata.X, "format_in_memory", "dense")
    assert isinstance(found, np.ndarray if kind is np.asarray else kind)
    np.testing.assert_array_equal(dense(found), dense(x))


@pytest.mark.parametrize("kind", [sparse.csr_matrix, sparse.csc_matrix, np.asarray])
def test_a_changed_copy_can_be_pickled(kind, monkeypatch):
    monkeypatch.setattr("scanpy_oom.engine.sources.patched.IN_MEMORY", 0)
    x = counts(50, 20).toarray()
    lazy = oom(kind(x))
    lazy[:, 3], x[:, 3] = 2, 2
    again = pickle.loads(pickle.dumps(lazy))
    assert isinstance(again.source, ScratchSource)
    assert again.format_in_memory == lazy.format_in_memory
    np.testing.assert_array_equal(dense(again), x)


def test_pickling_more_than_fits_in_memory_is_refused(monkeypatch):
    monkeypatch.setattr("scanpy_oom.engine.sources.patched.IN_MEMORY", 0)
    lazy = oom(counts(500, 60))
    lazy[:, 3] = 2
    monkeypatch.setattr(oom_settings, "_memory_limit", 10_000)
    with pytest.raises(MemoryBudgetExceeded, match="Write it to a file first"):
        pickle.dumps(lazy)
