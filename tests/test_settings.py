"""Sizes, as users write them."""

from __future__ import annotations

import numpy as np
import pytest

from scanpy_oom.settings import parse_bytes


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
    with pytest.raises(ValueError, match="is not a size; write bytes or a number with a unit"):
        parse_bytes(written)


@pytest.mark.parametrize("written", [0, -5, 0.5, "0.5", "0 GB", "1e999", 10**400, float("nan"), float("inf")])
def test_a_size_is_positive_and_finite(written):
    with pytest.raises(ValueError, match="must be positive and finite"):
        parse_bytes(written)
