"""What scanpy changes in place is seen under all names that it has; what scanpy makes anew is seen under one."""

from __future__ import annotations

import itertools

import anndata as ad
import numpy as np
import pytest
import scanpy as sc
from scipy import sparse

from ...matrices import counts, dense, oom
from ...versions import has

pytestmark = pytest.mark.filterwarnings("ignore")

HALF = np.arange(60) % 2 == 0

CALLS = {
    "log1p": lambda a: sc.pp.log1p(a),
    "log1p, base": lambda a: sc.pp.log1p(a, base=2),
    "log1p of a layer": lambda a: sc.pp.log1p(a, layer="l"),
    "log1p in chunks": lambda a: sc.pp.log1p(a, chunked=True, chunk_size=10),
    "log1p of a copy": lambda a: sc.pp.log1p(a, copy=True),
    "log1p of a matrix": lambda a: sc.pp.log1p(a.X),
    "log1p of a matrix's copy": lambda a: sc.pp.log1p(a.X, copy=True),
    "normalize_total": lambda a: sc.pp.normalize_total(a),
    "normalize_total to a sum": lambda a: sc.pp.normalize_total(a, target_sum=100),
    "normalize_total without some": lambda a: sc.pp.normalize_total(a, exclude_highly_expressed=True, max_fraction=0.2),
    "normalize_total of a layer": lambda a: sc.pp.normalize_total(a, layer="l"),
    "normalize_total, returned": lambda a: sc.pp.normalize_total(a, inplace=False),
    "scale": lambda a: sc.pp.scale(a),
    "scale with a limit": lambda a: sc.pp.scale(a, max_value=1),
    "scale without centre": lambda a: sc.pp.scale(a, zero_center=False),
    "scale of some": lambda a: sc.pp.scale(a, mask_obs=HALF),
    "scale of some without centre": lambda a: sc.pp.scale(a, mask_obs=HALF, zero_center=False),
    "scale of a matrix": lambda a: sc.pp.scale(a.X),
    "scale of a matrix without centre": lambda a: sc.pp.scale(a.X, zero_center=False),
    "sqrt": lambda a: sc.pp.sqrt(a),
    "sqrt of a matrix": lambda a: sc.pp.sqrt(a.X),
    "sqrt in chunks": lambda a: sc.pp.sqrt(a, chunked=True, chunk_size=10),
    "downsample_counts": lambda a: sc.pp.downsample_counts(a, counts_per_cell=5),
    "downsample_counts in all": lambda a: sc.pp.downsample_counts(a, total_counts=100),
    "regress_out": lambda a: sc.pp.regress_out(a, ["w"]),
    "combat": lambda a: sc.pp.combat(a, "b"),
    "recipe_seurat": lambda a: sc.pp.recipe_seurat(a),
    "recipe_zheng17": lambda a: sc.pp.recipe_zheng17(a, n_top_genes=5),
    "residuals": lambda a: sc.experimental.pp.normalize_pearson_residuals(a),
    "filter_cells": lambda a: sc.pp.filter_cells(a, min_counts=8),
    "highly_variable_genes": lambda a: sc.pp.highly_variable_genes(a, n_top_genes=5),
    "pca": lambda a: sc.pp.pca(a, n_comps=3),
}
if has("pp.normalize_per_cell"):
    CALLS["normalize_per_cell"] = lambda a: sc.pp.normalize_per_cell(a, counts_per_cell=np.arange(1.0, 61))

FORMS = {"csr": sparse.csr_matrix, "csc": sparse.csc_matrix, "dense": np.array}


def named(form: str, dtype: str, shared: str, *, lazy: bool):
    """An AnnData whose X has several names, and what finds the matrix by each of them."""
    rng = np.random.default_rng(0)
    values = rng.poisson(1.0, (60, 20)) * (rng.random((60, 20)) < 0.5)
    values[:, 0] += 1
    values[0] += 1
    x = FORMS[form](values.astype(dtype))
    x = oom(x) if lazy else x
    a = ad.AnnData(x)
    a.obs["w"] = np.arange(60) % 7
    a.obs["b"] = np.where(HALF, "x", "y")
    a.obs["b"] = a.obs["b"].astype("category")
    a.layers["l"] = a.X if shared == "layer" else a.X.copy()
    if shared == "raw":
        a.raw = a
    b, c, mine = ad.AnnData(a.X), a.copy(), a.X
    names = {"X": lambda: a.X, "layer": lambda: a.layers["l"], "another": lambda: b.X, "a copy": lambda: c.X}
    names |= {"a variable": lambda: mine} | ({"raw": lambda: a.raw.X} if shared == "raw" else {})
    return a, names


@pytest.mark.parametrize("form, dtype", itertools.product(FORMS, ["float32", "float64", "int64", "int32"]))
@pytest.mark.parametrize("what", CALLS)
def test_all_names_hold_what_they_hold_in_memory(what, form, dtype):
    for shared in ("layer", "raw"):
        found = []
        for lazy in (False, True):
            a, names = named(form, dtype, shared, lazy=lazy)
            try:
                CALLS[what](a)
            except Exception as error:  # noqa: BLE001 - it is to be that of memory
                found.append(type(error))
                continue
            found.append({name: (get() is a.X, dense(get())) for name, get in names.items()})
        if isinstance(found[0], type):
            assert found[0] is found[1]
            continue
        for name, (is_x, values) in found[0].items():
            assert found[1][name][0] == is_x, name
            assert found[1][name][1].dtype == values.dtype, name
            np.testing.assert_allclose(found[1][name][1], values, rtol=1e-4, atol=1e-5, err_msg=name)


IN_ANY_ORDER = {
    "log1p": lambda a: sc.pp.log1p(a),
    "log1p of a copy": lambda a: sc.pp.log1p(a, copy=True),
    "normalize_total": lambda a: sc.pp.normalize_total(a),
    "scale": lambda a: sc.pp.scale(a),
    "scale of the matrix": lambda a: sc.pp.scale(a.X),
    "scale of a copy of the matrix": lambda a: sc.pp.scale(a.X, copy=True),
    "both": lambda a: [sc.pp.normalize_total(a), sc.pp.log1p(a)][1],
    "by hand": lambda a: np.multiply(a.X, 2, out=a.X),
    "a mask": lambda a: a.X.__setitem__(a.X > 2, 1),
    "a place": lambda a: a.X.__setitem__((1, 1), 1),
}


if has("pp.normalize_per_cell"):

    def of_layer(adata):
        adata.layers["l"] = adata.X.copy()
        sc.pp.normalize_per_cell(adata, layers=["l"])
        return adata.layers["l"]

    IN_ANY_ORDER["normalize_per_cell of a layer"] = of_layer
    IN_ANY_ORDER["normalize_per_cell of a copy"] = lambda a: sc.pp.normalize_per_cell(a.X, copy=True)


@pytest.mark.parametrize("name", IN_ANY_ORDER)
def test_an_array_keeps_the_order_of_its_bytes(name):
    x = counts(20, 9).toarray().astype(">f4")
    found = []
    for held in (x.copy(), oom(x)):
        adata = ad.AnnData(held)
        result = IN_ANY_ORDER[name](adata)
        result = result.X if isinstance(result, ad.AnnData) else result
        found.append([None if one is None else getattr(one, "dtype_in_memory", one.dtype) for one in (adata.X, result)])
        found[-1].append(np.asarray(adata.X[:, :3]).dtype)
    assert found[0] == found[1]
