"""Sizes, as users write them."""

from __future__ import annotations

import numpy as np
import pytest

from scanpy_oom.settings import Settings, _warn_of_old_variable, parse_bytes


@pytest.mark.parametrize(
    "written, nbytes",
    [
        ("2 GB", 2 * 10**9),
        ("1.5MiB", 3 * 2**19),
        (".5 kb", 500),
        ("1e3", 1000),
        (12, 12),
        (1e9, 10**9),
        (np.int64(5), 5),
        (np.float32(7), 7),
    ],
)
def test_sizes_are_understood(written, nbytes):
    assert parse_bytes(written) == nbytes
    assert type(parse_bytes(written)) is int


@pytest.mark.parametrize("written", ["lots", "5 apples", "1.2.3 MB", "-1", "", None, [1], b"1 GB"])
def test_what_is_no_size_is_refused(written):
    with pytest.raises(ValueError, match="is not a size; give a number of bytes, or a number with a unit"):
        parse_bytes(written)


@pytest.mark.parametrize("written", [0, -5, 0.5, "0.5", "0 GB", "1e999", 10**400, float("nan"), float("inf")])
def test_a_size_is_positive_and_finite(written):
    with pytest.raises(ValueError, match="must be positive and finite"):
        parse_bytes(written)


@pytest.mark.parametrize(
    ("written", "found"), [(True, True), (False, False), ("on", True), ("Off", False), ("0", False), ("1", True)]
)
def test_links_are_followed_or_not(monkeypatch, written, found):
    chosen = Settings()
    assert chosen.follow_links
    monkeypatch.setenv("SCANPY_OOM_FOLLOW_LINKS", str(written))
    assert chosen.follow_links is found
    chosen.follow_links = not found
    assert chosen.follow_links is not found
    chosen.follow_links = None
    assert chosen.follow_links is found


def test_what_is_left_on_disk_is_what_is_asked_for_or_all(monkeypatch):
    chosen = Settings()
    assert chosen.read == "asked"
    monkeypatch.setenv("SCANPY_OOM_READ", "always")
    assert chosen.read == "always"
    chosen.read = "asked"
    assert chosen.read == "asked"
    with pytest.raises(ValueError, match="read must be 'asked' or 'auto' or 'always', not 'oom'"):
        chosen.read = "oom"


def test_the_graph_is_scanpys_or_fast(monkeypatch):
    chosen = Settings()
    assert chosen.graph == "scanpy"
    monkeypatch.setenv("SCANPY_OOM_GRAPH", "fast")
    assert chosen.graph == "fast"
    chosen.graph = "scanpy"
    assert chosen.graph == "scanpy"
    chosen.graph = None
    assert chosen.graph == "fast"
    with pytest.raises(ValueError, match="graph must be 'scanpy' or 'fast', not 'slow'"):
        chosen.graph = "slow"
    monkeypatch.setenv("SCANPY_OOM_GRAPH", "quick")
    with pytest.raises(ValueError, match="graph must be 'scanpy' or 'fast', not 'quick'"):
        _ = Settings().graph


@pytest.mark.parametrize("written", ["maybe", 2, ""])
def test_what_says_neither_on_nor_off_is_refused(written):
    with pytest.raises(ValueError, match="follow_links must be True or False"):
        Settings().follow_links = written


def test_old_names_of_the_cache_work_and_warn(monkeypatch):
    settings = Settings()
    with pytest.warns(DeprecationWarning, match=r"`settings\.stage` is now `settings\.cache`") as caught:
        settings.stage = "off"
    assert caught[0].filename == __file__
    assert settings.cache == "off"
    with pytest.warns(DeprecationWarning, match="is now"):
        assert settings.stage == "off"
    monkeypatch.setenv("SCANPY_OOM_STAGE", "off")
    _warn_of_old_variable.cache_clear()
    with pytest.warns(FutureWarning, match="`SCANPY_OOM_STAGE` is now `SCANPY_OOM_CACHE`") as caught:
        assert [Settings().cache, Settings().cache] == ["off", "off"]
    assert len(caught) == 1
    monkeypatch.setenv("SCANPY_OOM_CACHE", "auto")
    assert Settings().cache == "auto"
