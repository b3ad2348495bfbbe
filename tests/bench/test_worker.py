"""The process that is measured, whose steps are tested with the whole benchmark (test_bench.py)."""

from __future__ import annotations

import sys

import pytest
import scanpy as sc

from scanpy_oom.bench import worker


@pytest.mark.parametrize("asked, given", [(4, 2), (2, 2), (1, 1)])
def test_scanpy_gets_no_more_jobs_than_there_are_threads(
    monkeypatch: pytest.MonkeyPatch, asked: int, given: int
) -> None:
    monkeypatch.setattr(worker, "get_num_threads", lambda: 2)
    before = sc.settings.n_jobs
    try:
        sc.settings.n_jobs = asked
        worker.ask_for_no_more_threads_than_there_are()
        assert sc.settings.n_jobs == given
    finally:
        sc.settings.n_jobs = before  # a property of the class, which monkeypatch would replace for good


def test_a_process_without_scanpy_is_asked_for_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    before = sc.settings.n_jobs
    monkeypatch.delitem(sys.modules, "scanpy")
    monkeypatch.setattr(worker, "get_num_threads", lambda: 0)
    worker.ask_for_no_more_threads_than_there_are()
    assert sc.settings.n_jobs == before
    assert "scanpy" not in sys.modules
