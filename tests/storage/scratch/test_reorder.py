"""Rows come out in the order of their places, with what was put there."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from scanpy_oom.storage.scratch.reorder import ScratchRows


@settings(max_examples=50)
@given(
    lengths=st.lists(st.integers(0, 9), max_size=30),
    step=st.integers(1, 7),
    entries=st.integers(1, 20),
    seed=st.integers(0, 99),
)
def test_rows_are_taken_in_the_order_of_their_places(lengths, step, entries, seed):
    rng = np.random.default_rng(seed)
    lengths = np.array(lengths, dtype=np.int64)
    rows = [rng.integers(0, 1000, n) for n in lengths]
    order = rng.permutation(lengths.size)
    scratch = ScratchRows(lengths.size, [np.dtype(np.int32), np.dtype(np.float64)])
    for start in range(0, lengths.size, step):
        positions = order[start : start + step]
        values = np.concatenate([rows[p] for p in positions])
        scratch.put(positions, lengths[positions], [values, values * 0.5])
    taken = list(scratch.take(entries))
    scratch.close()
    whole = np.concatenate([np.empty(0), *rows])
    np.testing.assert_array_equal(np.concatenate([np.empty(0), *(n for n, _ in taken)]), lengths)
    for k, factor in enumerate((1, 0.5)):
        np.testing.assert_array_equal(np.concatenate([np.empty(0), *(a[k] for _, a in taken)]), whole * factor)
    assert all(n.sum() <= max(entries, n[0]) for n, _ in taken)
