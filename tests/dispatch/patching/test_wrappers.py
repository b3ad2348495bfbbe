from __future__ import annotations

import subprocess
import sys
import warnings
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import anndata as ad
import numpy as np
import pandas as pd
import pytest
import scanpy as sc
from scipy import sparse

from scanpy_oom._scanpy import SCANPY_1_13

from ...matrices import counts, pair
from ...versions import before_1_13


def plain(function: Callable[..., Any]) -> Callable[..., Any]:
    return function.__wrapped__


def recorded(call: Callable[[], Any]) -> list[tuple[str, str, int]]:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        call()
    # Lines of this file as counted from the call. Deprecations are anndata's and pandas' own affairs.
    found = [w for w in caught if not issubclass(w.category, DeprecationWarning)]
    first = call.__code__.co_firstlineno
    return [(str(w.message), w.filename, w.lineno - first * (w.filename == __file__)) for w in found]


def empty_cell() -> ad.AnnData:
    return ad.AnnData(sparse.csr_matrix(np.array([[0, 0], [1, 2]], dtype=np.float32)))


CALLS = {
    "by position": lambda normalize_total: lambda: normalize_total(empty_cell()[1:].copy(), 1e4),
    "empty cells": lambda normalize_total: lambda: normalize_total(empty_cell()),
    "a view": lambda normalize_total: lambda: normalize_total(empty_cell()[:1]),
}


if SCANPY_1_13:  # where arguments by position are errors
    del CALLS["by position"]


@pytest.mark.parametrize("case", CALLS)
def test_a_warning_names_the_line_that_it_would_name_otherwise(case: str) -> None:
    wrapped, unwrapped = (recorded(CALLS[case](f)) for f in (sc.pp.normalize_total, plain(sc.pp.normalize_total)))
    assert wrapped
    assert wrapped == unwrapped


@before_1_13
def test_a_warning_for_the_caller_names_the_callers_line() -> None:
    (warning,) = recorded(CALLS["by position"](sc.pp.normalize_total))
    assert warning[1:] == (__file__, 0)


@before_1_13
def test_a_warning_of_an_override_names_the_callers_line(oom: ad.AnnData, memory: ad.AnnData) -> None:
    expected = recorded(lambda: plain(sc.pp.normalize_total)(memory, 1e4))
    assert recorded(lambda: sc.pp.normalize_total(oom, 1e4)) == expected


@pytest.mark.usefixtures("no_overrides")
def test_a_materialised_call_warns_as_it_would_in_memory(oom: ad.AnnData, memory: ad.AnnData) -> None:
    in_memory, on_disk = memory[:20], oom[:20]
    residuals = sc.experimental.pp.normalize_pearson_residuals
    expected = recorded(lambda: plain(residuals)(in_memory))
    assert expected
    assert recorded(lambda: sc.experimental.pp.normalize_pearson_residuals(on_disk)) == expected


def test_errors_are_scanpys_own(memory: ad.AnnData) -> None:
    with pytest.raises(KeyError, match="no_such"):
        sc.pp.log1p(memory, layer="no_such")
    with pytest.raises(TypeError, match="no_such"):
        sc.pp.log1p(memory, no_such=1)


COST = """
import sys, timeit
import anndata as ad, numpy as np, scanpy as sc
from scanpy_oom.dispatch.patching._importlib_bootstrap.wrappers import around_function

def log1p(data, *, base=None):
    pass

wrapper = around_function(log1p, "pp.log1p")

def cost(data):
    times = [min(timeit.repeat(lambda: f(data, base=2), number=1000, repeat=7)) for f in (wrapper, log1p)]
    return (times[0] - times[1]) / 1000

memory = ad.AnnData(np.ones((3, 3), np.float32))
if len(sys.argv) > 1:
    sc.read_h5ad(sys.argv[1], backed="oom")
else:
    assert "scanpy_oom.matrix" not in sys.modules
print(cost(memory), cost(memory.X))
"""


def costs(*arguments: object) -> list[float]:
    command = [sys.executable, "-c", COST, *map(str, arguments)]
    return [float(cost) for cost in subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()]


def test_a_wrapper_costs_a_microsecond_where_all_is_in_memory() -> None:
    assert max(costs()) < 2e-6


def test_a_wrapper_costs_no_more_than_some_microseconds_where_calls_are_recorded(h5ad: Path) -> None:
    assert max(costs(h5ad)) < 300e-6


def test_a_wrapper_has_the_globals_of_the_function() -> None:
    assert sc.pl.embedding.__globals__ is plain(sc.pl.embedding).__globals__
    assert import_module("scanpy.external.pl").phate  # whose signature scanpy makes from them


@pytest.mark.parametrize("kind", ["csr", "csc", "dense"])
@pytest.mark.parametrize("dtype", ["float32", "int64", "bool"])
@pytest.mark.parametrize("layer", [None, "counts"])
def test_a_frame_of_no_cells_has_the_dtype_of_the_matrix(layer: str | None, dtype: str, kind: str) -> None:
    x = counts(5, 3, dtype=dtype)
    memory, lazy = pair(x.toarray() if kind == "dense" else x.asformat(kind))
    for adata in (memory, lazy):
        adata.layers["counts"] = adata.X.copy()
    for rows in (slice(0, 0), slice(0, 2)):
        expected, found = (adata[rows].to_df(layer) for adata in (memory, lazy))
        pd.testing.assert_frame_equal(found, expected)
        pd.testing.assert_frame_equal(lazy[rows].to_df(layer=layer), expected)


def test_a_frame_of_a_layer_that_is_not_there_is_an_error_without_cells_too() -> None:
    _, lazy = pair(counts(5, 3))
    with pytest.raises(KeyError):
        lazy[:0].to_df("nope")
