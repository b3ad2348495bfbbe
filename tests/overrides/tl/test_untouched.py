"""What works on a graph of cells or an embedding does not read the matrix, and gives what it gives in memory."""

from __future__ import annotations

import random
import warnings

import numpy as np
import pytest
import scanpy as sc

from scanpy_oom.matrix import OOMMatrix

from ...comparison import assert_same_anndata, passes_of
from ...matrices import counts, pair


def seed():
    """Have draws repeat, of NumPy and of igraph, which draws from Python's generator."""
    np.random.seed(0)
    random.seed(0)


def root(adata):
    adata.uns["iroot"] = 0


CALLS = {
    "umap": lambda a: sc.tl.umap(a, n_components=2, random_state=0, maxiter=20),
    "tsne": lambda a: sc.tl.tsne(a, use_rep="X_pca", perplexity=5, random_state=0),
    "leiden": lambda a: sc.tl.leiden(a, flavor="igraph", n_iterations=2, directed=False, random_state=0),
    "louvain": lambda a: sc.tl.louvain(a, flavor="igraph", directed=False),
    "diffmap": lambda a: sc.tl.diffmap(a, n_comps=5),
    "dpt": lambda a: (root(a), sc.tl.diffmap(a, n_comps=5), sc.tl.dpt(a, n_dcs=5)),
    "paga": lambda a: sc.tl.paga(a, groups="kind"),
    "draw_graph": lambda a: sc.tl.draw_graph(a, layout="fr", random_state=0),
    "embedding_density": lambda a: sc.tl.embedding_density(a, "pca", groupby="kind"),
    "dendrogram": lambda a: sc.tl.dendrogram(a, "kind"),
    "morans_i of obsm": lambda a: a.uns.update(i=sc.metrics.morans_i(a, obsm="X_pca")),
    "gearys_c of obsm": lambda a: a.uns.update(c=sc.metrics.gearys_c(a, obsm="X_pca")),
    "confusion_matrix": lambda a: a.uns.update(m=sc.metrics.confusion_matrix("kind", "batch", a.obs)),
}


@pytest.fixture(scope="module")
def both():
    found = pair(counts(80, 70))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for adata in found:
            sc.pp.log1p(adata)
            sc.pp.pca(adata, n_comps=8)
            sc.pp.neighbors(adata, n_neighbors=10, random_state=0)
    return found


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
def test_a_graph_or_an_embedding_is_worked_on_as_in_memory_without_a_pass(both, call):
    memory, lazy = (adata.copy() for adata in both)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        seed()
        call(memory)
        seed()
        assert passes_of(lambda: call(lazy)) == 0
    assert isinstance(lazy.X, OOMMatrix)
    assert_same_anndata(memory, lazy, rtol=1e-3)
