from __future__ import annotations

import gc
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import scanpy as sc

from scanpy_oom.engine.budget import BYTES_PER_ENTRY, LARGE, LIBRARIES, SMALLEST_BLOCK, allot, require
from scanpy_oom.engine.cache import compact_copy as stage_module
from scanpy_oom.engine.compute import run
from scanpy_oom.engine.request import Request
from scanpy_oom.errors import MemoryBudgetExceeded
from scanpy_oom.memory.ledger import ACCOUNTANT, Accountant, _Share
from scanpy_oom.queries.answers import ENGINE
from scanpy_oom.reductions import GroupMoments
from scanpy_oom.settings import settings

from ..interrupts import CAN_INTERRUPT, interrupted
from ..matrices import annotated, counts, oom


@pytest.fixture
def limit(monkeypatch):
    monkeypatch.setattr(settings, "_n_threads", 4)
    return lambda nbytes: monkeypatch.setattr(settings, "_memory_limit", nbytes)


@pytest.mark.parametrize("partial_nbytes", [0, 10**5, LARGE, 10**8])
@pytest.mark.parametrize("memory", [2 * 10**8, 5 * 10**8, 10**9, 10**11])
def test_what_is_allotted_fits_the_limit(limit, partial_nbytes, memory):
    limit(memory)
    if 2 * partial_nbytes + LIBRARIES + SMALLEST_BLOCK * BYTES_PER_ENTRY > memory:
        with pytest.raises(MemoryBudgetExceeded):
            allot(partial_nbytes, "It")
        return
    share = allot(partial_nbytes, "It")
    assert share.blocks_nbytes + share.partials_nbytes + LIBRARIES <= memory
    assert 1 <= share.n_threads <= 4
    assert share.n_tasks >= share.n_threads


def test_with_less_memory_there_are_fewer_threads_before_there_is_an_error(limit):
    n_threads = []
    for memory in (LIBRARIES + 10**8 * n for n in range(4, 9)):
        limit(memory)
        n_threads.append(allot(10**8, "It").n_threads)
    assert n_threads == [1, 2, 3, 4, 4]


def test_passes_side_by_side_are_told_the_least_limit_for_all_of_them(limit):
    limit(10**8)
    with pytest.raises(MemoryBudgetExceeded) as error:
        allot(10**7, "It", n_threads=1, n_beside=3)
    settings.memory_limit = str(error.value).rpartition("memory_limit = '")[2].partition("'")[0]
    assert allot(10**7, "It", n_threads=1, n_beside=3).n_threads == 1
    settings.memory_limit = int(settings.memory_limit / 1.2)
    with pytest.raises(MemoryBudgetExceeded):
        allot(10**7, "It", n_threads=1, n_beside=3)


def test_too_low_a_limit_is_refused_with_the_least_that_works(limit):
    limit(10**8)
    matrix = oom(counts(30, 10))
    with pytest.raises(MemoryBudgetExceeded, match=r"A pass over OOMMatrix.*at least (131 MB).*100 MB") as error:
        run([Request(matrix, [GroupMoments(np.zeros(30, dtype=int), 1)])])
    least = str(error.value).rpartition("memory_limit = '")[2].partition("'")[0]
    settings.memory_limit = least
    run([Request(matrix, [GroupMoments(np.zeros(30, dtype=int), 1)])])


DECISIONS = [lambda: allot(0, "It"), lambda: require(1.1e8, "It", "Wait.")]


@pytest.mark.parametrize("decide", DECISIONS, ids=["pass", "other"])
def test_a_refusal_tells_the_limit_by_which_it_was_decided(monkeypatch, decide):
    """What is free on the machine is another number by the time that it is said."""
    ACCOUNTANT.make_room()  # what earlier tests have left would be looked at, and the limit for it
    free = iter([4e8, 4e8, 2e10, 2e10, 2e10])
    monkeypatch.setattr(settings, "_memory_limit", None)
    monkeypatch.delenv("SCANPY_OOM_MEMORY_LIMIT", raising=False)
    monkeypatch.setattr("scanpy_oom.memory.system.available_memory", lambda: next(free))
    with pytest.raises(MemoryBudgetExceeded, match=r"limit (is|of) 100 MB"):
        decide()


def test_what_is_held_is_counted_until_its_owner_is_gone(limit):
    limit(10**9)
    accountant, owner = Accountant(), {1}
    accountant.hold(owner, "copies", 10**8)
    with accountant.reserve(blocks=10**7, partial_results=1):
        assert accountant.held == {"copies": 10**8, "blocks": 10**7, "partial results": 1}
        assert accountant.available() == 10**9 - accountant.in_use
    assert accountant.in_use == 10**8
    del owner
    assert accountant.in_use == 0
    assert accountant.peak == 10**8 + 10**7 + 1
    assert accountant.available() == 10**9


def test_results_are_counted_apart_from_the_limit(limit):
    limit(10**9)
    accountant = Accountant()
    with accountant.reserve(results=5 * 10**9):
        assert accountant.held == {"results": 5 * 10**9}
        assert accountant.available() == 10**9


def test_nothing_is_held_after_a_pass():
    before = ACCOUNTANT.held
    run([Request(oom(counts(30, 10)), [GroupMoments(np.zeros(30, dtype=int), 1)])])
    assert ACCOUNTANT.held == before


def test_passes_of_several_threads_wait_for_one_another_where_memory_is_short(limit):
    limit(LIBRARIES + ACCOUNTANT.in_use + 2 * SMALLEST_BLOCK * BYTES_PER_ENTRY)
    matrix, codes = oom(counts(3000, 10)), np.zeros(3000, dtype=int)
    before = ACCOUNTANT.in_use

    def work(_):
        moments = run([Request(matrix, [GroupMoments(codes, 1)])])[0][0]
        return ACCOUNTANT.in_use, moments.total.sum()

    with ThreadPoolExecutor(4) as pool:
        results = list(pool.map(work, range(12)))
    assert {total for _, total in results} == {counts(3000, 10).sum()}
    assert ACCOUNTANT.in_use == before


def test_a_share_is_given_when_others_are_done(limit):
    limit(100)
    accountant, order, inside = Accountant(), [], threading.Event()

    def first():
        with accountant.grant(beside=0, blocks=60, partial_results=0):
            inside.set()
            time.sleep(0.1)
            order.append("first")

    thread = threading.Thread(target=first)
    thread.start()
    inside.wait()
    with accountant.grant(beside=0, blocks=60, partial_results=0):
        order.append("second")
        with accountant.grant(beside=0, blocks=60, partial_results=0):  # a pass within a pass waits for nobody
            pass
    thread.join()
    assert order == ["first", "second"]
    assert accountant.held == {}


LATER = {
    "nothing": lambda adata: None,
    "a copy": lambda adata: adata.X.sum(),
    "columns": lambda adata: adata[:, ["gene3", "gene7"]].X.toarray(),
    "statistics": lambda adata: ENGINE.statistics(adata.X),
    "all": lambda adata: [LATER[name](adata) for name in ("a copy", "columns", "statistics")],
    "what was drawn": lambda adata: sc.pp.downsample_counts(adata, counts_per_cell=20),
}
"""What is held after a call in case that it is asked for again."""


OTHER = LIBRARIES + SMALLEST_BLOCK * BYTES_PER_ENTRY


@pytest.mark.parametrize("decide", [lambda n: allot((n - OTHER) // 3, "It"), lambda n: require(n, "It", "Wait.")])
@pytest.mark.parametrize("before", LATER)
@pytest.mark.parametrize("on_disk", [True, False])
def test_nothing_is_refused_because_of_what_may_be_of_use_later(before, decide, on_disk, limit, tmp_path, monkeypatch):
    if not on_disk:
        monkeypatch.setattr(stage_module, "lies_in_memory", lambda folder: True)
    annotated(counts(3000, 60)).write_h5ad(tmp_path / "a.h5ad", compression="gzip")
    adata, untouched = (sc.read_h5ad(tmp_path / "a.h5ad", backed="oom") for _ in range(2))
    ACCOUNTANT.make_room()
    n, held = 2 * 10**8, ACCOUNTANT.held_for_good
    limit(10**9)
    LATER[before](adata)
    expected = adata.X.sum()
    limit(held + n)
    if on_disk or before != "what was drawn":
        decide(n)
    else:  # which cannot be done again
        with pytest.raises(MemoryBudgetExceeded):
            decide(n)
    limit(held + n - 10**4)
    with pytest.raises(MemoryBudgetExceeded):
        decide(n)
    limit(10**9)
    assert adata.X.sum() == expected
    if before != "what was drawn":
        run([Request(adata.X, [GroupMoments(np.zeros(3000, dtype=int), 1)])])
        assert np.array_equal(adata.X.toarray(), untouched.X.toarray())


def test_what_is_read_while_it_moves_to_scratch_is_what_it_was(limit, tmp_path):
    annotated(counts(3000, 60)).write_h5ad(tmp_path / "a.h5ad", compression="gzip")
    adata = sc.read_h5ad(tmp_path / "a.h5ad", backed="oom")
    expected = adata.X.sum()
    (stage,) = adata.X.copies
    rows = np.arange(3000)
    with ThreadPoolExecutor(3) as pool:
        reads = [pool.submit(stage.read, rows) for _ in range(30)]
        ACCOUNTANT.make_room()
        reads += [pool.submit(stage.read, rows) for _ in range(3)]
    assert not stage.in_memory
    assert {read.result().data.sum() for read in reads} == {expected}


@pytest.mark.skipif(not CAN_INTERRUPT, reason="needs timers that interrupt")
def test_no_interrupt_leaves_anything_counted_or_others_waiting(limit):
    limit(100)
    accountant = Accountant()

    def take() -> None:
        with accountant.grant(beside=0, blocks=60, partial_results=1), accountant.reserve(workspace=2):
            pass

    interrupted(take)
    gc.collect()
    assert accountant.held == {}
    assert not accountant._others_run(_Share({}, threading.get_ident() + 1))
