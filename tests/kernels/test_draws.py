from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scanpy.preprocessing._simple import _downsample_array

from scanpy_oom import kernels
from scanpy_oom.kernels import reference


@given(n=st.integers(1, 12), k=st.integers(1, 4), m=st.integers(1, 9), seed=st.integers(0, 1000))
def test_low_rank_is_the_product_and_does_not_depend_on_how_many_rows_there_are(n, k, m, seed):
    rng = np.random.default_rng(seed)
    rows, columns = rng.normal(size=(n, k)), rng.normal(size=(k, m))
    out, one = np.empty((n, m)), np.empty((1, m))
    kernels.low_rank(rows, columns, out)
    np.testing.assert_allclose(out, reference.low_rank(rows, columns), rtol=1e-10, atol=1e-12)
    kernels.low_rank(np.ascontiguousarray(rows[-1:]), columns, one)
    np.testing.assert_array_equal(one[0], out[-1])


@given(seed=st.integers(0, 2**32 - 1), total=st.integers(1, 300), part=st.floats(0, 1))
@pytest.mark.parametrize("replace", [False, True])
def test_numbers_drawn_are_those_of_scanpy_s_kernel(seed, total, part, replace):
    n = int(part * total)
    drawn = kernels.sorted_choice(seed, total, n, replace)
    want = _downsample_array(np.ones(total, dtype=np.int64), n, random_state=seed, replace=replace, inplace=False)
    np.testing.assert_array_equal(np.bincount(drawn, minlength=total), want)
