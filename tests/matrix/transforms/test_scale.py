from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from scanpy_oom.matrix.transforms import Elementwise
from scanpy_oom.matrix.transforms.scale import Scale

from .ways import DTYPES, all_stored, assert_ways_agree, held, vectors


@given(
    x=all_stored(),
    data=st.data(),
    centred=st.booleans(),
    bound=st.sampled_from([None, 10.0, 0.5, -0.5, np.nan]),
    masked=st.booleans(),
    dtype=st.sampled_from(DTYPES),
    cuts_nan=st.booleans(),
)
def test_ways_agree(x, data, centred, bound, masked, dtype, cuts_nan):
    n_rows, n_columns = x.shape
    mean = data.draw(vectors(n_columns)) if centred else None
    std = np.abs(data.draw(vectors(n_columns)))
    mask = np.arange(n_rows) % 3 != 1 if masked else None
    step = Scale(mean, std, bound, mask, dtype, data.draw(st.booleans()), cuts_nan)
    assert_ways_agree(x, step)
    assert_ways_agree(x, Elementwise("log1p"), step)


@given(
    x=all_stored(dtypes=("f8",)), data=st.data(), bound=st.sampled_from([None, 10.0, 0.5, -0.5]), masked=st.booleans()
)
def test_values_are_those_of_numpy(x, data, bound, masked):
    n_rows, n_columns = x.shape
    mean, std = data.draw(vectors(n_columns)), np.abs(data.draw(vectors(n_columns)))
    mask = np.arange(n_rows) % 3 != 1 if masked else None
    found = assert_ways_agree(x, Scale(mean, std, bound, mask, DTYPES[1], dense=True))
    with np.errstate(all="ignore"):
        want = (held(x) - mean) / std
        if bound is not None:
            want = np.where(want > bound, bound, np.where(want < -bound, -bound, want))
    np.testing.assert_array_equal(found, want if mask is None else np.where(mask[:, None], want, held(x)))
