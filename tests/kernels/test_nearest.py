from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from scanpy_oom import kernels
from scanpy_oom.kernels import reference
from scanpy_oom.kernels.nearest import GROUP


@st.composite
def searches(draw: st.DrawFn) -> tuple[list[np.ndarray], list[np.ndarray], int, tuple[np.ndarray, ...]]:
    """Candidates in tiles and which of them are marked, how many nearest are sought, and room for them.

    Distances are whole numbers, all different or many of them equal. Tiles are padded with what is infinitely far and
    not marked, and some have nothing else.
    """
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    dtype, n_rows, k = (
        draw(st.sampled_from([np.float32, np.float64])),
        draw(st.integers(0, 5)),
        draw(st.integers(1, 40)),
    )
    sizes = draw(st.lists(st.integers(0, 3 * GROUP), min_size=1, max_size=4))
    levels, n = draw(st.sampled_from([2, 20, None])), sum(sizes)
    ordered = rng.integers(0, levels, (n_rows, n)) if levels else np.tile(np.arange(n), (n_rows, 1))
    distances = rng.permuted(ordered, axis=1)
    tiles, marks = [], []
    for part, size in zip(np.split(distances, np.cumsum(sizes)[:-1], axis=1), sizes, strict=True):
        padding = -size % GROUP
        tiles.append(np.pad(part.astype(dtype), ((0, 0), (0, padding)), constant_values=np.inf))
        marks.append(np.pad(rng.random(size) < 0.5, (0, padding)))
    room = k + draw(st.sampled_from([1, 2, 7, k + 64]))
    kept = np.empty((n_rows, room), dtype=dtype), np.empty((n_rows, room), dtype=bool)
    return tiles, marks, k, (*kept, np.zeros(n_rows, dtype=np.int64), np.full(n_rows, np.inf, dtype=dtype))


@given(search=searches())
def test_the_nearest_are_among_what_is_kept(search):
    tiles, marks, k, kept = search
    for tile, marked in zip(tiles, marks, strict=True):
        kernels.keep_nearest(tile, marked, *kept, k)
    candidates, marked = np.concatenate(tiles, axis=1), np.concatenate(marks)
    nearest = reference.keep_nearest(candidates, k)
    for i, (distances, names, size, bound) in enumerate(zip(*kept, strict=True)):
        some = np.sort(distances[:size])[:k]
        np.testing.assert_array_equal(some, nearest[i][np.isfinite(nearest[i])])
        assert bound >= (some[-1] if size >= k else np.inf)
        # each is a candidate with its own mark, and none is there twice
        for distance, name in {*zip(distances[:size], names[:size], strict=True)}:
            n_kept = np.sum((distances[:size] == distance) & (names[:size] == name))
            assert n_kept <= np.sum((candidates[i] == distance) & (marked == name))


@given(search=searches(), each_time=st.booleans())
def test_as_many_are_marked_as_in_the_reference(search, each_time):
    tiles, marks, k, kept = search
    distances, names, sizes, bounds = kept
    counts = np.empty(sizes.size, dtype=np.int64)
    for tile, marked in zip(tiles, marks, strict=True):
        kernels.keep_nearest(tile, marked, *kept, k)
        if each_time or tile is tiles[-1]:
            kernels.marked_among_nearest(*kept, k, counts)
    candidates = np.concatenate(tiles, axis=1)
    fewest, most = reference.marked_among_nearest(candidates, np.concatenate(marks), k)
    assert ((fewest <= counts) & (counts <= most)).all()
    nearest = reference.keep_nearest(candidates, k)
    np.testing.assert_array_equal(sizes, np.isfinite(nearest).sum(axis=1))
    for i, size in enumerate(sizes):
        np.testing.assert_array_equal(np.sort(distances[i, :size]), nearest[i, :size])
        assert counts[i] == names[i, :size].sum()
        if size == k:
            assert bounds[i] == nearest[i, -1]
