from __future__ import annotations

import pickle
from dataclasses import dataclass

import numpy as np
import pytest

from scanpy_oom import to_oom
from scanpy_oom.matrix.cache_registry import Copies
from scanpy_oom.queries.answers import ENGINE

from ..matrices import counts


@dataclass(eq=False)
class Held:
    columns: np.ndarray | None = None
    nbytes: int = 0


def mask(*columns: int) -> np.ndarray:
    out = np.zeros(6, dtype=bool)
    out[list(columns)] = True
    return out


def test_the_narrowest_copy_that_holds_what_is_needed_is_found():
    whole, some = Held(), Held(np.array([1, 3, 4]))
    top = Copies()
    top.add(whole)
    below = Copies(above=top)
    below._own.append(some)
    assert below.narrowest(mask(1, 4)) is some
    assert below.narrowest(mask(1, 5)) is whole
    assert below.narrowest(None) is whole
    assert top.narrowest(mask(1)) is whole
    assert Copies().narrowest(None) is None


def test_subsets_find_the_copies_of_what_they_came_from_and_not_those_of_each_other():
    top = Copies()
    left, right = Copies(above=top), Copies(above=top)
    copy = Held()
    left.add(copy)
    assert Copies(above=left).narrowest(None) is copy
    assert right.narrowest(None) is None
    top.add(copy)
    assert right.narrowest(None) is copy
    assert left.top() is top


def test_a_copy_of_all_that_is_shown_lets_go_of_the_larger_ones():
    top = Copies()
    top.add(Held())
    below = Copies(above=top)
    below.add(Held(np.array([2])))
    assert [copy.columns.tolist() for copy in below] == [[2]]


def test_a_pickle_leaves_copies_behind():
    copies = Copies()
    copies.add(Held())
    assert list(pickle.loads(pickle.dumps(copies))) == []


@pytest.mark.parametrize("needed", [mask(), mask(2)])
def test_what_needs_no_column_may_be_read_from_any_copy(needed):
    copies = Copies()
    copies.add(Held(np.array([2])))
    assert copies.narrowest(needed) is not None


def levels(copies: Copies) -> int:
    return 1 if copies._above is None else 1 + levels(copies._above)


def test_a_subset_of_a_subset_may_be_as_deep_as_one_likes():
    matrix = counts(8, 6)
    x = to_oom(matrix)
    for _ in range(3000):
        x = x.select(rows=np.arange(8)[::-1])
    np.testing.assert_array_equal(x.sum(axis=1).A1, matrix.sum(axis=1).A1)
    assert levels(x.copies) < 5
    assert len(pickle.dumps(x)) < 10_000


def test_subsets_that_are_all_kept_are_gone_through_without_recursion():
    x = [to_oom(counts(8, 6))]
    for _ in range(3000):
        x.append(x[-1].select(rows=np.arange(8)[::-1]))
    copy = Held()
    x[0].copies.add(copy)
    assert x[-1].copies.narrowest(None) is copy
    assert x[-1].copies.top() is x[0].copies
    assert len(list(x[-1].copies.recent_columns())) == len(x)
    del x[1:-1]
    assert x[-1].copies.narrowest(None) is copy
    assert levels(x[-1].copies) == 2


def test_a_copy_of_a_selection_outlives_its_matrix():
    x = to_oom(counts(8, 6))
    some = x.select(rows=np.arange(5))
    copy = Held()
    some.copies.add(copy)
    below = some.select(rows=np.arange(3)).select(rows=np.arange(2))
    del some, x
    assert below.select(rows=np.arange(1)).copies.narrowest(None) is copy


def test_a_copy_is_found_by_subsets_that_were_taken_before_it_was_made():
    x = to_oom(counts(8, 6))
    some = x.select(rows=np.arange(5))
    below = some.select(rows=np.arange(3))
    ENGINE.statistics(below, "col_sum")
    lowest = below.select(rows=np.arange(2))
    copy = Held()
    some.copies.add(copy)
    assert lowest.copies.narrowest(None) is copy
