from __future__ import annotations

import numpy as np
import pytest
import scanpy as sc

from ..comparison import assert_same_outcome, passes_of
from ..matrices import counts, pair
from ..pp.strategies import FORMATS

FUNCTIONS = ["sum", "mean", "var", "count_nonzero", "median"]
ARGUMENTS = [
    {"by": "kind", "func": FUNCTIONS},
    {"by": ["kind", "batch"], "func": ["mean", "var"]},
    {"by": "kind", "func": "var", "dof": 0},
    {"by": "kind", "func": ["sum", "mean"], "mask": "some"},
    {"by": "kind", "func": ["sum", "var"], "mask": np.arange(60) % 3 != 0},
    {"by": "kind", "func": "sum", "layer": "counts"},
    {"by": "kind", "func": "mean", "obsm": "X_pca"},
    {"by": "mt", "func": FUNCTIONS, "axis": 1},
    {"by": "mt", "func": "mean", "axis": "var", "layer": "counts"},
    {"by": "mt", "func": [], "axis": 1},
    {"by": "absent", "func": "sum"},
    {"by": "kind", "func": "absent"},
    {"by": "kind", "func": "sum", "layer": "counts", "obsm": "X_pca"},
]


def layered(adata):
    adata.layers["counts"] = adata.X.copy()
    sc.pp.log1p(adata)
    adata.obs["some"] = np.arange(adata.n_obs) % 2 == 0
    adata.var["mt"] = adata.var["mt"].astype(str).astype("category")
    adata.obsm["X_pca"] = np.arange(2.0 * adata.n_obs).reshape(-1, 2)


@pytest.mark.parametrize("func", FUNCTIONS)
def test_each_function_is_scanpy_s(func):
    assert_same_outcome(lambda a: sc.get.aggregate(a, "kind", func), counts(60, 30), before=layered, rtol=1e-5)


@pytest.mark.parametrize("arguments", ARGUMENTS, ids=str)
def test_aggregates_are_scanpy_s_for_all_arguments(arguments):
    assert_same_outcome(lambda a: sc.get.aggregate(a, **arguments), counts(60, 30), before=layered, rtol=1e-5)


@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize("dtype", ["float32", "float64", "int32"])
def test_aggregates_are_scanpy_s_for_every_dtype_and_format(dtype, kind):
    x = counts(60, 30, dtype=dtype)
    x = x.toarray() if kind == "dense" else x.asformat(kind)
    assert_same_outcome(lambda a: sc.get.aggregate(a, "kind", ["sum", "mean", "var"]), x, rtol=1e-5)


def test_all_functions_together_take_one_pass():
    lazy = pair(counts(60, 30))[1]
    assert passes_of(lambda: sc.get.aggregate(lazy, ["kind", "batch"], ["sum", "mean", "var", "count_nonzero"])) == 1


@pytest.mark.parametrize("kind", FORMATS)
def test_medians_of_booleans_are_scanpy_s(kind):
    x = counts(60, 30) > 0
    x = x.toarray() if kind == "dense" else x.asformat(kind)
    assert_same_outcome(lambda a: sc.get.aggregate(a, "kind", "median"), x)
