from __future__ import annotations

import threading
import time

import numpy as np
import pytest

from scanpy_oom.memory import rss
from scanpy_oom.memory.rss import History, Sampler, clock

from ..dispatch.test_undo import Interrupt


def test_a_history_is_bounded_and_keeps_the_peak() -> None:
    history = History(width=0.02, length=100)
    for i in range(100_000):
        history.add(i * 0.02, 7_000 if i == 4_321 else i % 50)
    samples = history.samples()
    assert len(samples) <= 100
    assert (4_321 * 0.02, 7_000) in samples
    assert [at for at, _ in samples] == sorted(at for at, _ in samples)
    assert samples[-1][0] > 99_000 * 0.02


def test_a_short_history_keeps_every_interval() -> None:
    history = History(width=1, length=10)
    for at, value in [(5.0, 1), (5.5, 3), (5.9, 2), (6.1, 1), (60.0, 4)]:
        history.add(at, value)
    assert history.samples() == [(5.5, 3), (6.1, 1), (60.0, 4)]


def test_the_clock_tells_the_time_and_never_goes_back() -> None:
    times = [clock() for _ in range(1000)]
    assert times == sorted(times)
    assert abs(times[0] - time.time()) < 5


def test_what_is_taken_for_a_while_is_seen_from_another_thread() -> None:
    sampler = Sampler()
    peak = sampler.watch()
    taken = np.ones(100_000_000, np.uint8)
    time.sleep(0.15)
    del taken
    inner = sampler.watch()
    assert sampler.release(inner) < 50_000_000
    assert 80_000_000 < sampler.release(peak) < 10**9
    sampler._end()


def test_a_sampler_that_dozes_is_woken_by_a_call(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rss, "PATIENCE", 0.05)
    monkeypatch.setattr(rss, "DOZING_INTERVAL", 60.0)
    sampler = Sampler()
    sampler.release(sampler.watch())
    end = time.monotonic() + 30  # of a machine that is busy; woken by nobody it sleeps longer
    while not sampler._dozing and time.monotonic() < end:
        time.sleep(0.01)
    peak = sampler.watch()
    taken = np.ones(100_000_000, np.uint8)
    while peak.most - peak.start < 80_000_000 and time.monotonic() < end:
        time.sleep(0.01)
    del taken
    assert sampler.release(peak) > 80_000_000
    sampler._end()


def test_no_thread_is_started_when_the_interpreter_ends() -> None:
    sampler = Sampler()
    sampler._end()
    assert sampler.release(sampler.watch()) >= 0
    assert sampler._thread is None


def test_a_sample_that_cannot_be_taken_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    resource = pytest.importorskip("resource")
    monkeypatch.setattr(rss, "INTERVAL", 0.001)
    sampler = Sampler()
    peak = sampler.watch()
    before = sampler.sample()
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (0, hard))  # /proc cannot be opened, nor anything else
    try:
        assert sampler.sample() == before
        inner = sampler.watch()
        time.sleep(0.1)
        assert sampler.release(inner) == 0
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert sampler._thread is not None
    assert sampler._thread.is_alive()
    taken = np.ones(50_000_000, np.uint8)
    time.sleep(0.1)
    assert sampler.release(peak) >= taken.nbytes


def test_an_interrupt_in_a_call_leaves_the_sampler_at_work():
    ours = Sampler()

    def call() -> None:
        ours.release(ours.watch(interval=0.001))

    call()
    n = Interrupt(call).n
    for at in range(n + 1):
        Interrupt(call, at)
    later = threading.Thread(target=call, daemon=True)
    later.start()
    later.join(10)
    assert not later.is_alive()
