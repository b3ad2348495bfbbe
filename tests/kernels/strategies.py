"""Random blocks."""

from __future__ import annotations

import numpy as np
from hypothesis import strategies as st
from scipy import sparse


@st.composite
def blocks(draw: st.DrawFn, *, max_rows: int = 12, max_columns: int = 9, negative: bool = True) -> sparse.csr_matrix:
    """A small CSR matrix of counts and fractions, with empty rows, empty columns and explicit zeros."""
    n_rows = draw(st.integers(0, max_rows))
    n_columns = draw(st.integers(1, max_columns))
    seed = draw(st.integers(0, 2**32 - 1))
    density = draw(st.sampled_from([0.0, 0.2, 0.6, 1.0]))
    whole = draw(st.booleans())
    rng = np.random.default_rng(seed)
    stored = rng.random((n_rows, n_columns)) < density
    values = rng.poisson(1.5, stored.shape).astype(np.float64)
    values[rng.random(stored.shape) < 0.05] = 300  # above what is memoised
    if not whole:
        values = values * rng.random(stored.shape)
    if negative and not whole:
        values *= rng.choice([-1, 1], stored.shape)
    rows, columns = np.nonzero(stored)
    indptr = np.concatenate([[0], np.cumsum(stored.sum(axis=1))])
    data = values[rows, columns].astype(np.float32)
    return sparse.csr_matrix((data, columns.astype(np.int32), indptr.astype(np.int64)), shape=stored.shape)
