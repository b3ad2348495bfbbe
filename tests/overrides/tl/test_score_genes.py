from __future__ import annotations

import numpy as np
import pytest
import scanpy as sc

from ...comparison import assert_same_error, assert_same_log, assert_same_outcome, passes_of
from ...matrices import counts, pair
from ..pp.strategies import FORMATS

GENES = ["gene1", "gene4", "gene7", "gene11"]
ARGUMENTS = [
    {},
    {"ctrl_as_ref": False},
    {"ctrl_size": 3, "n_bins": 4},
    {"gene_pool": [f"gene{k}" for k in range(0, 60, 2)]},
    {"score_name": "other", "random_state": 7},
    {"random_state": None},
    {"copy": True},
    {"use_raw": False},
    {"use_raw": True},
    {"layer": "counts", "use_raw": False},
]


def logarithms(adata):
    np.random.seed(1)
    adata.layers["counts"] = adata.X.copy()
    sc.pp.normalize_total(adata, target_sum=100)
    sc.pp.log1p(adata)
    adata.raw = adata.copy()


@pytest.mark.parametrize("arguments", ARGUMENTS, ids=str)
def test_scores_are_scanpy_s_for_all_arguments(arguments):
    call = lambda adata: sc.tl.score_genes(adata, GENES, **arguments)
    assert_same_outcome(call, counts(60, 60), before=logarithms)


@pytest.mark.parametrize("kind", FORMATS)
def test_scores_are_scanpy_s_for_every_format(kind):
    x = counts(60, 60).toarray() if kind == "dense" else counts(60, 60).asformat(kind)
    assert_same_outcome(lambda adata: sc.tl.score_genes(adata, GENES), x, before=logarithms)


def test_phases_of_the_cell_cycle_are_scanpy_s():
    call = lambda adata: sc.tl.score_genes_cell_cycle(adata, s_genes=GENES[:2], g2m_genes=GENES[2:])
    assert_same_outcome(call, counts(60, 60), before=logarithms)


def test_genes_that_are_not_there_are_remarked_upon_as_in_scanpy():
    log = assert_same_log(lambda adata: sc.tl.score_genes(adata, [*GENES, "absent"]), *pair(counts(60, 60)))
    assert "absent" in log


@pytest.mark.parametrize("genes", [["absent"], []], ids=str)
def test_a_list_of_no_known_genes_raises_what_scanpy_raises(genes):
    assert_same_error(lambda adata: sc.tl.score_genes(adata, genes), *pair(counts(60, 60)), ValueError)


def test_it_takes_a_pass_for_means_and_one_for_the_genes_that_are_drawn():
    lazy = pair(counts(60, 60))[1]
    assert passes_of(lambda: sc.tl.score_genes(lazy, GENES)) <= 3
    # means are known then
    assert passes_of(lambda: sc.tl.score_genes(lazy, GENES)) <= 2


@pytest.mark.parametrize(
    "genes, arguments",
    [("all", {"n_bins": 1}), ("none", {"use_raw": True, "layer": "counts"}), ("none", {})],
    ids=str,
)
def test_what_is_wrong_is_told_in_the_order_of_scanpy(genes, arguments):
    def doubled(adata):
        adata.layers["counts"] = adata.X.copy()
        adata.raw = adata.copy()
        adata.var_names = [f"g{k // 2}" for k in range(adata.n_vars)]

    assert_same_outcome(
        lambda a: sc.tl.score_genes(a, ["g1", "g2"] if genes == "all" else ["no"], **arguments),
        counts(20, 12),
        before=doubled,
    )
