"""Values for given places go where SciPy and NumPy put them."""

from __future__ import annotations

import operator

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse

from ...matrices import FORMS, counts, dense, oom

pytestmark = pytest.mark.filterwarnings("ignore")

SHAPE = (13, 7)

number = st.integers(-SHAPE[1], SHAPE[1] - 1)
part = st.builds(slice, *[st.none() | st.integers(-8, 8)] * 2, st.sampled_from([None, 1, 2, -1]))
some = st.lists(number, max_size=5) | st.lists(number, min_size=1, max_size=4).map(np.array)


def mask(n):
    return st.lists(st.booleans(), min_size=n, max_size=n).map(np.array)


axes = st.tuples(number | part | some | mask(SHAPE[0]), number | part | some | mask(SHAPE[1]))
outer = st.tuples(st.lists(number, max_size=4), st.lists(number, max_size=4)).map(lambda pair: np.ix_(*pair))
indices = axes | outer | part | some | mask(SHAPE[0]) | number


KINDS = ["number", "all", "columns", "rows", "sparse", "wrong"]


def values(shape, seed, kind):
    """Draw what is assigned: a number, or values for each place, each column or each row."""
    rng = np.random.default_rng(seed)
    if kind == "number":
        return float(rng.integers(0, 3))
    if kind == "sparse":
        return sparse.csr_matrix(rng.integers(0, 2, np.atleast_2d(np.zeros(shape)).shape).astype("float32"))
    of = {"all": shape, "columns": shape[-1:], "rows": (*shape[:-1], 1), "wrong": (3, 2)}[kind]
    return rng.integers(0, 3, of).astype(rng.choice(["int64", "float64"]))


@pytest.mark.parametrize("most", [2**25, 0])  # as a patch, as a copy
@pytest.mark.parametrize("dtype", ["float32", "int32"])
@pytest.mark.parametrize("form", FORMS)
@given(
    steps=st.lists(
        st.tuples(
            indices, st.sampled_from(["number", "all", "columns", "rows", "sparse", "wrong"]), st.integers(0, 99)
        ),
        min_size=1,
        max_size=3,
    ),
    order=st.none() | st.permutations(range(SHAPE[0])),
)
@settings(max_examples=60, deadline=None)
def test_assignments_are_those_of_memory(form, dtype, most, steps, order):
    memory = FORMS[form](counts(*SHAPE, dtype=dtype, density=0.5))
    lazy = oom(memory)
    if order is not None:
        memory, lazy = memory[order], lazy.select(np.array(order))
    other, before = lazy.copy(), dense(lazy)
    for index, kind, seed in steps:
        try:
            shape = np.zeros(SHAPE)[index].shape
        except IndexError:
            shape = (1,)
        value = values(shape, seed, kind if form != "dense" or kind != "sparse" else "number")
        errors = []
        for x in (memory, lazy):
            with pytest.MonkeyPatch.context() as patched:
                patched.setattr("scanpy_oom.engine.sources.patched.IN_MEMORY", most)
                try:
                    x[index] = value
                except (IndexError, ValueError, TypeError) as error:
                    errors.append(type(error))
                else:
                    errors.append(None)
        assert errors[0] == errors[1]
        np.testing.assert_array_equal(dense(lazy), dense(memory))
        assert lazy.dtype == memory.dtype
        if sparse.issparse(memory):
            assert lazy.nnz == memory.nnz
    np.testing.assert_array_equal(dense(other), before)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("value", [1, 0, -1, np.nan])
@pytest.mark.parametrize("name", ["lt", "le", "gt", "ge", "ne", "eq"])
def test_comparisons_hold_of_missing_values_where_they_do_in_memory(name, value, form):
    x = np.array([[np.nan, 0, 2.0], [0, 0.5, np.nan], [3, 0, -1]])
    found = []
    for held in (FORMS[form](sparse.csr_matrix(x)), oom(FORMS[form](sparse.csr_matrix(x)))):
        try:
            where = getattr(operator, name)(held, value)
            held[where] = 5
            found.append((dense(where).tolist(), dense(held).tolist()))
        except (TypeError, ValueError, NotImplementedError) as error:
            found.append(type(error))
    if found[0] is NotImplementedError:
        pytest.skip("SciPy before 1.16 does not compare so with 0")
    assert str(found[0]) == str(found[1])
