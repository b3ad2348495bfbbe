"""Memory that a block leaves behind serves the next, and never two at once."""

from __future__ import annotations

import gc
import threading

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from scanpy_oom.memory.buffer_pool import BUFFERS, SMALLEST, Buffers

N = 4 * SMALLEST


def address(array: np.ndarray) -> int:
    return array.__array_interface__["data"][0]


def test_memory_comes_again_once_nothing_refers_to_it():
    buffers = Buffers()
    with buffers.in_use():
        first = buffers.empty(N, np.uint8)
        where, part = address(first), first[5:10]
        del first
        assert address(buffers.empty(N, np.uint8)) != where  # a part of it is still looked at
        del part
        assert address(buffers.empty(N // 8, np.float64)) == where


def test_nothing_is_kept_after_the_last_user():
    buffers = Buffers()
    with buffers.in_use():
        with buffers.in_use():
            del_later = buffers.empty(N, np.uint8)
            buffers.empty(N, np.uint8)
            assert buffers.nbytes == N
        assert buffers.nbytes == N
    assert buffers.nbytes == 0
    del del_later
    gc.collect()
    assert buffers.nbytes == 0


def test_no_more_is_held_than_was_lent_at_a_time():
    buffers = Buffers()
    with buffers.in_use():
        for factor in (1, 2, 4, 8):
            del factor
            buffers.empty(N, np.uint8)
        assert buffers.nbytes == N
        for size in (2 * N, 4 * N):
            buffers.empty(size, np.uint8)
            assert buffers.nbytes <= size


def test_small_arrays_and_those_outside_of_passes_are_numpy_s_own():
    buffers = Buffers()
    assert buffers.empty(N, np.uint8).flags.owndata
    with buffers.in_use():
        assert buffers.empty(SMALLEST - 1, np.uint8).flags.owndata


@given(st.lists(st.tuples(st.integers(0, 2 * SMALLEST), st.booleans()), max_size=12))
@settings(max_examples=50)
def test_arrays_that_live_at_a_time_share_nothing(requests):
    buffers = Buffers()
    alive: list[tuple[np.ndarray, int]] = []
    with buffers.in_use():
        for k, (n, drop) in enumerate(requests):
            if drop and alive:
                alive.pop(0)
            array = buffers.empty(n, np.int32)
            assert array.shape == (n,)
            assert array.dtype == np.int32
            array[:] = k
            alive.append((array, k))
        assert all((array == k).all() for array, k in alive)


def test_threads_get_different_memory():
    wrong = []

    def work(k: int) -> None:
        for _ in range(200):
            array = BUFFERS.empty(SMALLEST, np.int64)
            array[:] = k
            if not (array == k).all():
                wrong.append(k)

    with BUFFERS.in_use():
        threads = [threading.Thread(target=work, args=(k,)) for k in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert not wrong
