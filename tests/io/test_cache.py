from __future__ import annotations

from scanpy_oom.io.cache import LRUCache


def test_drops_what_was_not_used_for_longest():
    cache: LRUCache[str] = LRUCache(30)
    for key in "abc":
        cache.put(key, key.upper(), 10)
    assert cache.get("a") == "A"
    cache.put("d", "D", 10)
    assert [cache.get(key) for key in "abcd"] == ["A", None, "C", "D"]
    assert cache.nbytes == 30


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
