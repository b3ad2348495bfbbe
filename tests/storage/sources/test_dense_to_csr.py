from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from scipy import sparse

from scanpy_oom.storage.arrays.ranges import row_runs
from scanpy_oom.storage.sources.dense_to_csr import (
    Tile,
    append_rows,
    append_rows_reference,
    compress_rows,
    compress_rows_reference,
)

blocks = st.sampled_from(["f4", "f8"]).flatmap(
    lambda dtype: arrays(
        dtype,
        array_shapes(min_dims=2, max_dims=2, min_side=0, max_side=8),
        elements=st.sampled_from([0.0, -0.0, 1.0, -2.5, np.nan, np.inf]),
    )
)


def _assert_equal(tile: Tile, expected: Tile) -> None:
    for array, other in zip(tile, expected, strict=True):
        np.testing.assert_array_equal(array, other)
        assert array.dtype == other.dtype


@given(block=blocks, first_column=st.integers(0, 1000))
def test_kernel_agrees_with_reference(block, first_column):
    _assert_equal(compress_rows(block, first_column), compress_rows_reference(block, first_column))


@given(block=blocks, data=st.data())
def test_rows_of_a_tile_are_those_of_the_matrix(block, data):
    rows = np.flatnonzero(data.draw(arrays(bool, len(block))))
    tile = compress_rows(block, 0).rows(row_runs(rows, len(block)))
    _assert_equal(tile, compress_rows_reference(block[rows], 0))
    assert all(array.base is None for array in tile)


@given(block=blocks, cut=st.integers(0, 8))
def test_tiles_side_by_side_make_up_the_matrix(block, cut):
    tiles = [compress_rows(np.array(half, order="C"), at) for half, at in ((block[:, :cut], 0), (block[:, cut:], cut))]
    expected = compress_rows_reference(block, 0)
    for append in (append_rows, append_rows_reference):
        out = Tile(expected.indptr, np.full_like(expected.indices, -1), np.full_like(expected.data, -1))
        cursor = expected.indptr[:-1].copy()
        for tile in tiles:
            append(tile, cursor, out)
        _assert_equal(out, expected)
        np.testing.assert_array_equal(cursor, expected.indptr[1:])


def test_size_is_that_of_the_arrays():
    tile = compress_rows(sparse.eye_array(3).toarray(), 0)
    assert tile.nbytes == 4 * 8 + 3 * 4 + 3 * 8
