from __future__ import annotations

import pickle
from dataclasses import dataclass

import numpy as np
import pytest

from scanpy_oom.matrix.copies import Copies


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
