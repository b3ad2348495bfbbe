"""What scripts hold of a matrix, and what they write to it by several threads and with pandas."""

from __future__ import annotations

import operator
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pandas as pd
import pytest

from scanpy_oom import MemoryBudgetExceeded
from scanpy_oom import settings as oom_settings

from ...matrices import FORMS, annotated, dense
from .test_changes import both, changed

pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.mark.parametrize("form", ["csr", "csc"])
@pytest.mark.parametrize(
    "program",
    [
        "saved = x.data; x.data = np.ones_like(saved); x.data = saved",
        "d = x.data; x.data = np.log1p(d); out = d.sum()",
        "d = x.data; x.data = d * 2; d[:] = 0",
        "d = x.data; x.data = d * 2; x.data[:] = 3; out = d.sum()",
        "d = x.data; x.data *= 2; out = d.sum()",
        "d = x.data; e = x.data; x.data = x.data * 0; d[:] = 4; out = e.sum()",
    ],
)
def test_stored_values_that_a_script_holds_are_the_array_that_they_were(program, form):
    found = []
    for x in both(form):
        names = {"np": np, "x": x, "out": None}
        exec(program, names)
        found.append((dense(x).tolist(), None if names["out"] is None else float(names["out"])))
    np.testing.assert_allclose(found[1][0], found[0][0], rtol=1e-6)
    assert found[0][1] == pytest.approx(found[1][1])


def test_stored_values_are_those_of_the_matrix_still_where_it_could_get_no_others(monkeypatch):
    _, lazy = both("csr", n_obs=400)
    held = lazy.data
    with monkeypatch.context() as limited:
        limited.setattr(oom_settings, "_memory_limit", 100)
        with pytest.raises(MemoryBudgetExceeded):
            lazy.data = np.zeros(lazy.nnz)
    held *= 0
    assert float(lazy.sum()) == 0


@pytest.mark.parametrize("form", ["csr", "dense"])
def test_threads_that_write_to_their_own_rows_lose_nothing(form):
    _, lazy = both(form, n_obs=60)
    with ThreadPoolExecutor(4) as threads:
        list(threads.map(lambda i: lazy.__setitem__(i, i + 1), range(60)))
    np.testing.assert_array_equal(dense(lazy), np.arange(1, 61)[:, None] + np.zeros(9))


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(
    "index",
    [
        lambda a: a.obs["kind"] == "k1",
        lambda a: (slice(None), a.var["mt"]),
        lambda a: (a.obs["kind"] == "k1", 3),
        lambda a: pd.Index([1, 2, 3]),
        lambda a: pd.Series([1, 2, 3]),
    ],
)
def test_series_and_indexes_of_pandas_name_places(index, form):
    found = []
    for x in both(form):
        a = annotated(x)
        found.append((changed(a.X, lambda x, a=a: operator.setitem(x, index(a), 4)), dense(a.X)))
    assert found[0][0] == found[1][0]
    np.testing.assert_array_equal(found[1][1], found[0][1])


def test_numbers_are_cut_off_to_those_that_an_array_holds():
    found = []
    for x in both("dense", "int32"):
        x[dense(x) > 1] = 2.5
        x[3, 1:4] = 7.9
        found.append((dense(x), float(x.sum())))
    np.testing.assert_array_equal(found[0][0], found[1][0])
    assert found[0][1] == found[1][1]


def test_numbers_that_an_array_does_not_take_are_refused_as_in_memory():
    found = []
    for x in both("dense", "int32"):
        with pytest.raises(OverflowError):
            x[4, 4] = 10**20
        found.append(dense(x))
    np.testing.assert_array_equal(*found)
