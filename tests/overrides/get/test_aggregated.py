from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import scanpy as sc

from scanpy_oom._scanpy import SCANPY_1_12

from ...comparison import assert_same_outcome, assert_same_warnings, passes_of
from ...matrices import as_held, counts, pair
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


@pytest.mark.skipif(not SCANPY_1_12, reason="earlier versions add up sums")
@pytest.mark.parametrize("kind", ["csr", "csc"])
def test_running_means_are_scanpy_s_to_the_last_bit_with_zeros_that_are_stored(kind):
    x = counts(120, 30, density=0.5)
    x.data[::7] = 0
    memory, lazy = (sc.get.aggregate(adata, "kind", ["mean", "var"]) for adata in pair(x.asformat(kind)))
    for name in ("mean", "var"):
        np.testing.assert_array_equal(lazy.layers[name], memory.layers[name])


def test_all_functions_together_take_one_pass():
    lazy = pair(counts(60, 30))[1]
    assert passes_of(lambda: sc.get.aggregate(lazy, ["kind", "batch"], ["sum", "mean", "var", "count_nonzero"])) == 1


@pytest.mark.parametrize("kind", FORMATS)
def test_medians_of_booleans_are_scanpy_s(kind):
    x = counts(60, 30) > 0
    x = x.toarray() if kind == "dense" else x.asformat(kind)
    assert_same_outcome(lambda a: sc.get.aggregate(a, "kind", "median"), x)


@pytest.mark.parametrize("kind", ["csr", "dense"])
@pytest.mark.parametrize("func", ["mean", "var", ["var", "sum"]], ids=str)
@pytest.mark.parametrize("dof", [0, 1, 2])
def test_groups_without_a_variance_are_warned_of_as_in_memory(dof, func, kind):
    x = counts(20, 12)
    memory, lazy = pair(x if kind == "csr" else x.toarray())
    for adata in (memory, lazy):
        adata.obs["some"] = pd.Categorical(["a"] * 9 + ["b"] * 10 + ["c"])
    assert_same_warnings(lambda a: sc.get.aggregate(a, "some", func, dof=dof), memory, lazy)


@pytest.mark.parametrize("func", FUNCTIONS)
@pytest.mark.parametrize("arguments", [{"by": "kind"}, {"by": "type", "axis": 1}], ids=["cells", "genes"])
@pytest.mark.parametrize(
    "empty", [(slice(0, 0), slice(None)), (slice(None), slice(0, 0))], ids=["no cells", "no genes"]
)
def test_of_no_cells_or_genes_it_is_scanpy_s_outcome(arguments, func, empty):
    outcomes = []
    for adata in pair(counts(12, 4)):
        adata.var["type"] = pd.Categorical(["a", "b", "a", "b"])
        part = adata[empty].copy()
        try:
            found = sc.get.aggregate(part, func=func, **arguments)
        except Exception as error:  # noqa: BLE001
            outcomes.append((type(error), str(error)))
        else:
            outcomes.append((found.shape, {name: np.asarray(x).tolist() for name, x in found.layers.items() if name}))
    assert outcomes[0] == outcomes[1]


@pytest.mark.parametrize("kind", as_held)
@pytest.mark.parametrize("function", ["sum", "mean", "var", "count_nonzero"])
def test_infinite_values_of_cells_that_are_masked_are_those_of_memory(function, kind):
    x = counts(20, 6)
    x[2, 1] = np.inf
    mask = np.arange(20) != 2
    assert_same_outcome(lambda a: sc.get.aggregate(a, "kind", function, mask=mask), as_held[kind](x))


@pytest.mark.parametrize("kind", as_held)
def test_medians_of_missing_values_are_those_of_memory(kind):
    x = counts(20, 6)
    x[2, 1] = x[5, 4] = np.nan
    assert_same_outcome(lambda a: sc.get.aggregate(a, "kind", "median"), as_held[kind](x))
