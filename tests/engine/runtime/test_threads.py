from __future__ import annotations

from threading import Event, get_ident

import numpy as np
import pytest

from scanpy_oom import settings
from scanpy_oom.engine.runtime.threads import in_threads, loops


@pytest.mark.parametrize("n_threads", [1, 2, 4])
def test_results_come_in_the_order_of_the_tasks(n_threads):
    settings.n_threads = n_threads
    assert in_threads(lambda task: task * 2, range(50)) == list(range(0, 100, 2))
    assert in_threads(lambda task: task, []) == []


def test_the_thread_that_calls_does_nothing_itself():
    for n_threads in (1, 4):
        assert get_ident() not in in_threads(lambda _: get_ident(), range(3), n_threads=n_threads)


@pytest.mark.parametrize("n_threads", [1, 2])
def test_an_error_is_raised_and_the_others_are_told(n_threads):
    settings.n_threads = n_threads
    stop, begun = Event(), Event()

    def work(task):
        if task == 0 and n_threads == 2:  # goes on until it is told
            begun.set()
            assert stop.wait(60)
            return
        assert n_threads == 1 or begun.wait(60)
        raise MemoryError

    with pytest.raises(MemoryError):
        in_threads(work, range(2), stop=stop)
    assert stop.is_set()


@pytest.mark.parametrize("n", [0, 1, 1023, 1024, 10_000])
@pytest.mark.parametrize("n_threads", [1, 3])
def test_a_loop_comes_to_each_number_once(n, n_threads):
    settings.n_threads = n_threads
    visits = np.zeros(n, dtype=int)

    def visit(first, last):
        visits[first:last] += 1

    with loops() as loop:
        loop(visit, n)
    assert (visits == 1).all()
