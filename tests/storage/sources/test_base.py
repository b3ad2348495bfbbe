from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from scanpy_oom.storage.sources.base import ByteCounter, is_supported_dtype, kernel_dtype


@pytest.mark.parametrize("dtype", ["?", "i1", "u1", "i2", "u2", "f2", "f4"])
def test_values_that_float32_holds_exactly_are_computed_in_float32(dtype):
    assert kernel_dtype(np.dtype(dtype)) == np.float32
    if np.dtype(dtype).kind in "iu":
        info = np.iinfo(dtype)
        assert [int(np.float32(value)) for value in (info.min, info.max)] == [info.min, info.max]


@pytest.mark.parametrize("dtype", ["i4", "u4", "i8", "u8", "f8"])
def test_wider_values_are_computed_in_float64(dtype):
    assert kernel_dtype(np.dtype(dtype)) == np.float64


@pytest.mark.parametrize(
    ("dtype", "supported"), [("f4", True), ("?", True), ("c8", False), ("S3", False), ("O", False)]
)
def test_only_real_numbers_are_streamed(dtype, supported):
    assert is_supported_dtype(np.dtype(dtype)) is supported


def test_byte_counter_loses_nothing_between_threads():
    counter = ByteCounter()
    with ThreadPoolExecutor(4) as executor:
        list(executor.map(counter.add, [3] * 10_000))
    assert counter.total == 30_000
