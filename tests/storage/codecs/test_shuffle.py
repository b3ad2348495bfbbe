from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scanpy_oom.storage.codecs.shuffle import unshuffle, unshuffle_reference


@pytest.mark.parametrize("itemsize", [1, 2, 3, 4, 8, 16])
@given(n=st.integers(0, 70), seed=st.integers(0, 5))
def test_bytes_are_put_together(itemsize, n, seed):
    values = np.random.default_rng(seed).bytes(n * itemsize)
    planes = np.frombuffer(values, np.uint8).reshape(n, itemsize).T.tobytes()
    shuffled = np.frombuffer(planes, np.uint8)
    assert unshuffle(shuffled, itemsize).tobytes() == values
    assert unshuffle_reference(shuffled, itemsize).tobytes() == values
