"""Loading numba takes no garbage collection, and leaves the collector as it was."""

from __future__ import annotations

import gc

import pytest

from scanpy_oom.engine.runtime.warmup import _unnoticed_by_collector


@pytest.fixture
def _collector_as_it_was():
    was_enabled = gc.isenabled()
    gc.unfreeze()
    yield
    gc.unfreeze()
    (gc.enable if was_enabled else gc.disable)()


@pytest.mark.usefixtures("_collector_as_it_was")
@pytest.mark.parametrize("enabled", [True, False])
def test_what_is_created_counts_as_old_and_the_collector_is_as_it_was(enabled):
    (gc.enable if enabled else gc.disable)()
    collections = gc.get_stats()[0]["collections"]
    with _unnoticed_by_collector():
        created = [[] for _ in range(20_000)]
        assert not gc.isenabled()
        assert gc.get_stats()[0]["collections"] == collections
    assert any(each is created[-1] for each in gc.get_objects(generation=2))
    assert gc.isenabled() == enabled
    assert not gc.get_freeze_count()


@pytest.mark.usefixtures("_collector_as_it_was")
def test_what_others_have_frozen_stays_frozen():
    theirs: list[object] = []
    gc.freeze()
    with _unnoticed_by_collector():
        pass
    assert all(seen is not theirs for seen in gc.get_objects()), "thawed: the collector looks at it again"


@pytest.mark.usefixtures("_collector_as_it_was")
def test_an_error_leaves_the_collector_as_it_was():
    gc.enable()
    with pytest.raises(KeyboardInterrupt), _unnoticed_by_collector():
        raise KeyboardInterrupt
    assert gc.isenabled()
