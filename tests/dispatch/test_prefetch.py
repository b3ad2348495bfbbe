"""What plots ask for one after the other is read together."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import scanpy as sc

from scanpy_oom.dispatch.prefetch import prefetch
from scanpy_oom.engine.cache import columns as recent

from ..comparison import passes_of
from ..matrices import annotated, counts


@pytest.fixture
def lazy(tmp_path):
    annotated(counts(200, 40)).write_h5ad(tmp_path / "a.h5ad")
    return sc.read_h5ad(tmp_path / "a.h5ad", backed="oom")


def test_genes_are_read_once_and_what_is_no_gene_not_at_all(lazy):
    assert passes_of(lambda: prefetch([(lazy, "X", ["gene3", "gene5", "gene3", "absent"])])) == 1
    assert passes_of(lambda: [lazy.obs_vector(gene) for gene in ("gene3", "gene5")]) == 0
    for wanted in [
        (lazy, "X", ["absent"]),
        (lazy, "X", []),
        (lazy, "layers/absent", ["gene1"]),
        (None, "X", ["gene1"]),
    ]:
        assert passes_of(lambda wanted=wanted: prefetch([wanted])) == 0


def test_genes_of_a_view_are_read_for_all_cells_unless_the_view_is_small(lazy):
    assert passes_of(lambda: prefetch([(lazy[:20], "X", ["gene3", "gene5"])])) == 0
    view = lazy[:150]
    assert passes_of(lambda: prefetch([(view, "X", ["gene3", "gene5"])])) == 1
    assert passes_of(lambda: [view.obs_vector(gene) for gene in ("gene3", "gene5")]) == 0


def test_what_does_not_fit_is_left_to_be_read_one_by_one(lazy, monkeypatch):
    monkeypatch.setattr(recent, "CAPACITY", 100)
    assert passes_of(lambda: prefetch([(lazy, "X", ["gene3", "gene5"])])) == 0
    np.testing.assert_array_equal(lazy.obs_vector("gene3"), lazy.to_memory().obs_vector("gene3"))


def test_names_that_are_not_unique_are_left_to_scanpy(lazy):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        lazy.var_names = ["gene3"] * 2 + [f"g{k}" for k in range(38)]
    assert passes_of(lambda: prefetch([(lazy, "X", ["gene3", "g7"])])) == 0


@pytest.mark.parametrize(
    "arguments", [{"color": "absent"}, {"color": ["gene3", "absent"]}, {"basis": "absent"}], ids=str
)
def test_a_plot_of_what_is_not_there_raises_what_it_raises_in_memory(lazy, arguments):
    lazy.obsm["X_umap"] = np.zeros((200, 2))
    call = lambda adata: sc.pl.embedding(adata, **({"basis": "umap"} | arguments), show=False)
    with pytest.raises(KeyError) as want:
        call(lazy.to_memory())
    with pytest.raises(KeyError) as got:
        call(lazy)
    assert str(got.value) == str(want.value)
