"""Chunks are kept as long as somebody wants a part of them."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scanpy_oom.storage.chunk_cache import MOST, SharedChunks

SIZE = 12


def chunk(i: int) -> np.ndarray:
    return np.arange(i * SIZE, (i + 1) * SIZE)


def take(chunks: SharedChunks, i: int, start: int, stop: int, made: list[int]) -> None:
    def make() -> np.ndarray:
        made.append(i)
        return chunk(i)

    np.testing.assert_array_equal(chunks.part(i, start, stop, make), chunk(i)[start:stop])


@given(data=st.data())
def test_a_chunk_is_made_once_and_kept_until_all_of_it_was_served_in_any_order(data):
    edges = [sorted({0, SIZE, *data.draw(st.lists(st.integers(1, SIZE - 1)))}) for _ in range(3)]
    parts = [(i, a, b) for i, cut in enumerate(edges) for a, b in pairwise(cut)]
    chunks, made, left = SharedChunks(10**6), [], [len(cut) - 1 for cut in edges]
    for i, start, stop in data.draw(st.permutations(parts)):
        take(chunks, i, start, stop, made)
        left[i] -= 1
        assert (chunks.get(i) is None) == (left[i] == 0)
    assert sorted(made) == [0, 1, 2]


def test_a_chunk_that_is_read_again_is_kept_anew():
    chunks, made = SharedChunks(10**6), []
    for start, stop in [(0, 5), (3, 8), (8, SIZE)]:  # the second and third do not make up the whole
        take(chunks, 0, start, stop, made)
    assert chunks.get(0) is not None
    take(chunks, 0, 0, 3, made)
    assert chunks.get(0) is None
    assert made == [0]


@pytest.mark.parametrize("order", [[(0, 8), (8, SIZE)], [(8, SIZE), (0, 8)]])
def test_what_was_read_before_a_pass_makes_no_difference_to_it(order):
    chunks, made = SharedChunks(10**6), []
    take(chunks, 0, 8, SIZE, made)
    chunks.begin()
    for start, stop in order:
        take(chunks, 0, start, stop, made)
    assert made == [0]
    assert chunks.get(0) is None


def test_marks_of_many_small_reads_do_not_pile_up():
    chunks, size = SharedChunks(10**6), 10_000
    for start in [*range(0, size, 2), *range(1, size, 2)]:
        chunks.part(0, start, start + 1, lambda: np.zeros(size))
        assert len(chunks._served[0]) <= MOST + 1


def test_what_is_beyond_the_edge_is_none_of_the_chunk():
    chunks, made = SharedChunks(10**6), []
    take(chunks, 0, 5, SIZE + 100, made)
    take(chunks, 0, 0, 5, made)
    assert chunks.get(0) is None


def test_nothing_is_left_when_it_is_cleared():
    chunks, made = SharedChunks(10**6), []
    take(chunks, 0, 0, 5, made)
    chunks.clear()
    assert chunks.get(0) is None
    take(chunks, 0, 5, SIZE, made)
    assert chunks.get(0) is not None
    assert made == [0, 0]


def test_beyond_the_capacity_chunks_are_made_again():
    chunks, made = SharedChunks(2 * SIZE * 8), []
    for i in range(3):
        take(chunks, i, 0, 5, made)
    take(chunks, 0, 5, SIZE, made)
    assert made == [0, 1, 2, 0]
