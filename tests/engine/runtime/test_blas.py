"""BLAS is held to one thread, whichever thread of the process asks for it."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from threadpoolctl import threadpool_info

from scanpy_oom.engine.runtime.blas import one_blas_thread


def n_threads() -> list[int]:
    """Threads of each BLAS that is loaded."""
    return [found["num_threads"] for found in threadpool_info() if found["user_api"] == "blas"]


def held() -> list[int]:
    with one_blas_thread():
        return n_threads()


@pytest.fixture(autouse=True)
def as_before():
    """What others have set is there again."""
    np.ones((2, 2)) @ np.ones((2, 2))
    before = n_threads()
    yield
    assert n_threads() == before


def elsewhere(function: Callable[[], list[int]]) -> list[int]:
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(function).result()


def test_the_limit_holds_in_any_thread_that_asks_one_after_the_other():
    ones = [1] * len(n_threads())
    with ThreadPoolExecutor(1) as lasting:  # which is still there when others ask
        assert lasting.submit(held).result() == ones
        assert held() == ones
        assert elsewhere(held) == ones
        assert lasting.submit(held).result() == ones


def test_the_limit_holds_until_the_last_of_several_threads_is_done():
    ones = [1] * len(n_threads())
    with ThreadPoolExecutor(1) as other:
        first, second = one_blas_thread(), one_blas_thread()
        first.__enter__()
        other.submit(second.__enter__).result()
        first.__exit__(None, None, None)
        assert n_threads() == ones
        other.submit(second.__exit__, None, None, None).result()
