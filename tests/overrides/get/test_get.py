"""`sc.get` on matrices that stay on disk."""

from __future__ import annotations

import numpy as np
import pytest
import scanpy as sc

from ...comparison import assert_same_error, assert_same_outcome, passes_of
from ...matrices import counts, pair

GENES = ["gene3", "gene17", "gene4"]


def layered(adata):
    adata.layers["counts"] = adata.X.copy()
    sc.pp.log1p(adata)
    adata.raw = adata.copy()
    adata.var["symbol"] = [f"symbol {name}" for name in adata.var_names]
    adata.obsm["X_pca"] = np.arange(2.0 * adata.n_obs).reshape(-1, 2)


OBS = [
    {"keys": [*GENES, "kind"]},
    {"keys": GENES, "layer": "counts"},
    {"keys": GENES, "use_raw": True},
    {"keys": ["symbol gene3", "batch"], "gene_symbols": "symbol"},
    {"keys": ["kind"], "obsm_keys": [("X_pca", 0), ("X_pca", 1)]},
    {"keys": ["absent"]},
    {"keys": ["gene3", "kind", "gene3", "kind"]},
    {"keys": ["symbol gene3", "symbol gene3"], "gene_symbols": "symbol"},
    {"keys": []},
]
VAR = [
    {"keys": ["cell4", "cell2", "mt"]},
    {"keys": ["cell4"], "layer": "counts"},
    {"keys": ["cell4", "mt", "cell4"]},
    {"keys": ["absent"]},
]


@pytest.mark.parametrize("arguments", OBS, ids=str)
def test_frames_of_cells_are_scanpy_s(arguments):
    assert_same_outcome(lambda adata: sc.get.obs_df(adata, **arguments), counts(60, 30), before=layered)


@pytest.mark.parametrize("arguments", VAR, ids=str)
def test_frames_of_genes_are_scanpy_s(arguments):
    assert_same_outcome(lambda adata: sc.get.var_df(adata, **arguments), counts(60, 30), before=layered)


def test_a_frame_of_several_genes_takes_one_pass():
    lazy = pair(counts(60, 30))[1]
    assert passes_of(lambda: sc.get.obs_df(lazy, [*GENES, "kind"])) == 1
    assert passes_of(lambda: sc.get.obs_df(lazy, ["kind"])) == 0


@pytest.mark.parametrize(
    "arguments",
    [{"group": "k1"}, {"group": ["k0", "k2"]}, {"group": None, "pval_cutoff": 0.9}, {"group": "k1", "log2fc_min": 0.1}],
    ids=str,
)
def test_frames_of_rankings_are_scanpy_s(arguments):
    def call(adata):
        sc.tl.rank_genes_groups(adata, "kind", pts=True)
        return sc.get.rank_genes_groups_df(adata, **arguments)

    assert_same_outcome(call, counts(60, 30), before=layered)


def test_keys_that_are_no_names_raise_what_scanpy_raises():
    assert_same_error(lambda adata: sc.get.obs_df(adata, ["absent", "kind"]), *pair(counts(60, 30)), KeyError)
