from __future__ import annotations

import numpy as np
import pytest
import scanpy as sc
from matplotlib import pyplot as plt

from scanpy_oom.matrix import OOMMatrix

from ...comparison import assert_same_log, passes_of
from .conftest import picture


@pytest.fixture
def both(path):
    """Counts in memory and out of memory."""
    found = sc.read_h5ad(path), sc.read_h5ad(path, backed="oom")
    for adata in found:
        adata.var["symbol"] = [f"symbol {name}" for name in adata.var_names]
        adata.layers["counts"] = adata.X.copy()
    return found


ARGUMENTS = [
    {},
    {"n_top": 5},
    {"n_top": 1000},
    {"layer": "counts", "n_top": 5},
    {"gene_symbols": "symbol", "n_top": 5},
    {"log": True, "n_top": 5},
    {"n_top": 5, "color": "red"},
]


@pytest.mark.parametrize("measured", [False, True], ids=["at first", "after QC"])
@pytest.mark.parametrize("arguments", ARGUMENTS, ids=str)
def test_highest_expressed_genes_are_scanpy_s(both, arguments, measured):
    draw = lambda adata: sc.pl.highest_expr_genes(adata, show=False, **arguments)
    if measured:
        for adata in both:
            sc.pp.calculate_qc_metrics(adata, inplace=True, percent_top=None)
    memory, lazy = (picture(lambda adata=adata: draw(adata)) for adata in both)
    np.testing.assert_array_equal(lazy, memory)
    assert isinstance(both[1].X, OOMMatrix)


@pytest.mark.parametrize("before", [sc.pp.log1p, sc.pp.scale], ids=["logarithms", "dense"])
def test_values_other_than_counts_are_taken_as_in_scanpy(both, before):
    for adata in both:
        before(adata)
    boxes = [sc.pl.highest_expr_genes(adata[:, 3:20].copy(), n_top=5, show=False) for adata in both]
    assert [text.get_text() for text in boxes[0].get_yticklabels()] == [
        text.get_text() for text in boxes[1].get_yticklabels()
    ]
    for memory, lazy in zip(*(box.lines for box in boxes), strict=True):
        np.testing.assert_allclose(lazy.get_xdata(), memory.get_xdata(), rtol=1e-5)
    plt.close("all")


def test_after_qc_it_takes_one_pass_and_else_a_second_for_the_genes(both):
    lazy = both[1]
    draw = lambda: picture(lambda: sc.pl.highest_expr_genes(lazy, n_top=5, show=False))
    assert passes_of(draw) == 2
    sc.pp.calculate_qc_metrics(lazy, inplace=True, percent_top=None)
    lazy.X.copies.recent.clear()
    assert passes_of(draw) == 1


def test_genes_that_were_not_likely_are_read_too(both):
    """Sums of counts are those of the deepest cells, means of fractions are not."""
    pictures = []
    for adata in both:
        factors = np.where(np.arange(adata.n_obs) == 0, 1e6, 1)[:, None]
        adata.X = adata.X.multiply(factors).tocsr().astype("float32")
        sc.pp.calculate_qc_metrics(adata, inplace=True, percent_top=None)
        pictures.append(picture(lambda adata=adata: sc.pl.highest_expr_genes(adata, n_top=3, show=False)))
    np.testing.assert_array_equal(*pictures)


def test_it_returns_axes_and_logs_as_scanpy_does(both):
    _, axes = plt.subplots()
    assert sc.pl.highest_expr_genes(both[1], ax=axes, show=False) is axes
    assert sc.pl.highest_expr_genes(both[1], ax=axes, show=True) is None
    plt.close("all")
    assert_same_log(lambda adata: sc.pl.highest_expr_genes(adata, show=False), *both)
