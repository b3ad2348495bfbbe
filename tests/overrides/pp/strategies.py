"""Random expression matrices."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import strategies as st
from scipy import sparse

DTYPES = ("float32", "float64", "int32", "int64", "uint16")
FORMATS = ("csr", "csc", "dense")


@st.composite
def expression(
    draw: st.DrawFn,
    *,
    dtypes: tuple[str, ...] = DTYPES,
    formats: tuple[str, ...] = FORMATS,
    huge: bool = True,
    negative: bool = False,
    fractions: bool = False,
) -> Any:
    """A small matrix in one of `formats`, with empty rows, all-zero and constant columns.

    Values are counts; some above 30,000 if `huge`, some negative if `negative` (where the dtype has such), and with
    parts of one half or one quarter, whose sums are exact, if `fractions` (where the dtype has such).
    """
    n_obs, n_vars = draw(st.integers(1, 12)), draw(st.integers(1, 9))
    dtype = np.dtype(draw(st.sampled_from(dtypes)))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    x = rng.poisson(2.0, (n_obs, n_vars)) * (rng.random((n_obs, n_vars)) < draw(st.sampled_from([0.0, 0.3, 0.7, 1.0])))
    x = x.astype(np.float64)
    if huge and draw(st.booleans()):
        x[rng.random(x.shape) < 0.1] *= 30_001
    if negative and dtype.kind != "u" and draw(st.booleans()):
        x *= rng.choice([-1, 1], x.shape)
    if fractions and dtype.kind == "f" and draw(st.booleans()):
        x *= rng.choice([1, 0.5, 0.25], x.shape)
    if draw(st.booleans()):
        x[:, rng.integers(n_vars)] = 3
    if draw(st.booleans()):
        x[:, rng.integers(n_vars)] = 0
    if draw(st.booleans()):
        x[rng.integers(n_obs)] = 0
    if dtype == np.uint16:
        x = np.minimum(x, 7_000)  # sums of more than 65,535 wrap around in scanpy
    x = x.astype(dtype)
    kind = draw(st.sampled_from(formats))
    return x if kind == "dense" else sparse.csr_matrix(x).asformat(kind)
