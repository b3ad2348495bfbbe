"""The process that is measured, whose steps are tested with the whole benchmark (test_bench.py)."""

from __future__ import annotations

import io
import sys
from types import SimpleNamespace

import pytest
import scanpy as sc

from scanpy_oom.bench import worker
from scanpy_oom.bench.channel import events


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


def test_a_step_that_a_package_has_no_function_for_is_left_out_with_those_that_need_it() -> None:
    taken: list[str] = []
    workflow = SimpleNamespace(left_out={"umap": "it has none"}, step=lambda name: lambda: taken.append(name))
    channel = io.StringIO()
    assert worker.take_steps(workflow, ["read", "umap", "leiden", "plot"], channel) == ["umap", "plot"]  # type: ignore[arg-type]
    told = list(events(io.StringIO(channel.getvalue()), io.StringIO()))
    reasons = {event["step"]: event["reason"] for event in told if event["event"] == "skipped"}
    assert reasons == {"umap": "it has none", "plot": "it needs the step umap"}
    assert taken == ["read", "leiden"]
