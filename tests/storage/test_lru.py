from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from scanpy_oom.storage.lru import LRUCache


def test_drops_what_was_not_used_for_longest():
    cache: LRUCache[str] = LRUCache(30)
    for key in "abc":
        cache.put(key, key.upper(), 10)
    assert cache.get("a") == "A"
    cache.put("d", "D", 10)
    assert [cache.get(key) for key in "abcd"] == ["A", None, "C", "D"]
    assert cache.nbytes == 30
    assert len(cache) == 3


def test_value_larger_than_the_capacity_is_kept_alone():
    cache: LRUCache[str] = LRUCache(30)
    cache.put("a", "A", 10)
    cache.put("b", "B", 1000)
    assert cache.get("a") is None
    assert cache.get("b") == "B"
    cache.put("c", "C", 10)
    assert cache.get("b") is None
    assert cache.nbytes == 10


def test_storing_again_replaces():
    cache: LRUCache[str] = LRUCache(30)
    cache.put("a", "A", 10)
    cache.put("a", "AA", 20)
    assert cache.get("a") == "AA"
    assert cache.nbytes == 20


def test_clear_drops_everything():
    cache: LRUCache[str] = LRUCache(30)
    cache.put("a", "A", 10)
    cache.clear()
    assert cache.get("a") is None
    assert cache.nbytes == 0


def test_one_thread_makes_what_several_ask_for():
    cache = LRUCache(100)
    made, start = [], threading.Barrier(4)

    def make():
        made.append(1)
        time.sleep(0.05)
        return "value", 5

    def ask(_):
        start.wait()
        return cache.get_or_make("key", make)

    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(ask, range(4))) == ["value"] * 4
    assert made == [1]
    assert cache.nbytes == 5


def test_what_could_not_be_made_is_made_by_the_next_who_asks():
    cache = LRUCache(100)

    def fail():
        msg = "planted"
        raise OSError(msg)

    with pytest.raises(OSError, match="planted"):
        cache.get_or_make("key", fail)
    assert cache.get_or_make("key", lambda: ("value", 5)) == "value"
