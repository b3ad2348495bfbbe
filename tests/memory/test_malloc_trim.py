"""What passes free is no longer in the process."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import psutil
import pytest

from scanpy_oom.memory.malloc_trim import _malloc_trim, return_freed_memory


@pytest.mark.skipif(_malloc_trim() is None, reason="no glibc: nothing is kept that could be given back")
def test_what_a_thread_has_freed_goes_back_to_the_system():
    def work() -> tuple[np.ndarray, int]:
        arrays = [np.ones(8_000) for _ in range(1_500)]
        return arrays[-1].copy(), psutil.Process().memory_info().rss  # what stays lies above what is freed

    with ThreadPoolExecutor(1) as pool:
        kept, before = pool.submit(work).result()
    return_freed_memory()
    assert psutil.Process().memory_info().rss < before - 70e6
    assert kept.sum() == 8_000
