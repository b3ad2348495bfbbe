from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scanpy_oom.matrix.transforms.pearson import PearsonResiduals

from .ways import all_stored, assert_ways_agree, held


@given(
    x=all_stored(dtypes=("f4", "f8", "i4")),
    single=st.booleans(),
    theta=st.sampled_from([100.0, np.inf]),
    clip=st.sampled_from([2.0, np.float64(2.0), np.float32(2.0)]),
    seed=st.integers(0, 100),
)
def test_ways_agree(x, single, theta, clip, seed):
    rng = np.random.default_rng(seed)
    cells, genes = rng.uniform(1, 9, x.shape[0]), rng.uniform(1, 9, x.shape[1])
    found = assert_ways_agree(x, PearsonResiduals(cells, genes, 50.0, theta, clip, single), exact=False)
    with np.errstate(all="ignore"):
        mu = cells[:, None] * genes / 50
        want = np.clip((held(x) - mu) / np.sqrt(mu + mu * mu / theta), -2, 2)
    np.testing.assert_allclose(found, want, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("clip", "single", "dtype"),
    [(2.0, True, "f4"), (2.0, False, "f8"), (np.float64(2), True, "f8"), (np.float32(2), True, "f4")],
)
def test_the_type_of_the_bound_counts(clip, single, dtype):
    step = PearsonResiduals(np.ones(2), np.ones(2), 4.0, 100.0, clip, single)
    assert step.result_dtype(np.dtype(np.int64)) == dtype
    assert step.fills
    assert step.makes_dense(was_dense=False)
