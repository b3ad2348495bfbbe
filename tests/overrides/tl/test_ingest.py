from __future__ import annotations

import warnings

import anndata as ad
import numpy as np
import pytest
import scanpy as sc

from scanpy_oom.matrix import OOMMatrix
from scanpy_oom.overrides.pp import _pca

from ...comparison import assert_same
from ...fuzz.compare import differences
from ...matrices import annotated, counts, oom

ARGUMENTS = {"embedding_method": ["pca"], "obs": ["kind", "batch"], "labeling_method": ["knn"], "k": 4}


def reference_of(x, *, lazy, **pca):
    adata = annotated(x)
    if lazy:
        adata.X = oom(x)
    sc.pp.log1p(adata)
    adata.var["highly_variable"] = np.arange(adata.n_vars) % 5 != 0
    sc.pp.pca(adata, n_comps=5, **pca)
    sc.pp.neighbors(adata, n_neighbors=8, random_state=0)
    return adata


def query_of(x, *, lazy):
    adata = annotated(x)[:, :].copy()
    adata.obs = adata.obs[[]]
    if lazy:
        adata.X = oom(x)
    sc.pp.log1p(adata)
    return adata


def mapped(lazy, inplace, pca):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        reference = reference_of(counts(80, 60), lazy=lazy[0], **pca)
        query = query_of(counts(40, 60, seed=1), lazy=lazy[1])
        np.random.seed(0)
        found = sc.tl.ingest(query, reference, inplace=inplace, **ARGUMENTS)
    if lazy[1]:
        assert isinstance(query.X, OOMMatrix)
    return query if found is None else found


@pytest.mark.parametrize("lazy", [(True, True), (True, False), (False, True)], ids=["both", "reference", "query"])
@pytest.mark.parametrize("inplace", [True, False])
def test_cells_are_mapped_as_in_memory_whichever_side_is_on_disk(inplace, lazy):
    pca = {"zero_center": inplace}
    want, got = mapped((False, False), inplace, pca), mapped(lazy, inplace, pca)
    assert_same(want.obs, got.obs, "obs")
    assert list(got.obsm) == list(want.obsm)
    np.testing.assert_array_equal(got.obsm["X_pca"], want.obsm["X_pca"])


@pytest.mark.parametrize("lazy", [(True, True), (False, True)], ids=["both", "query"])
def test_cells_that_are_projected_by_blocks_are_mapped_as_in_memory(monkeypatch, lazy):
    monkeypatch.setattr(_pca, "SMALL", 0)
    want, got = mapped((False, False), inplace=True, pca={}), mapped(lazy, inplace=True, pca={})
    assert_same(want.obs, got.obs, "obs")
    np.testing.assert_allclose(got.obsm["X_pca"], want.obsm["X_pca"], atol=1e-4)


def test_other_genes_are_refused_as_in_scanpy():
    reference, query = reference_of(counts(80, 60), lazy=True), query_of(counts(40, 60, seed=1), lazy=True)
    query.var_names = [f"other{k}" for k in range(60)]
    with pytest.raises(ValueError, match="Variables in the new adata are different"):
        sc.tl.ingest(query, reference, obs="kind")


def labelled_by_another(path, backed):
    """What the tutorial does: a sample with clusters, another that gets them, and both as one."""
    adata = sc.read_h5ad(path, backed=backed)[::5].copy()
    adata.var_names_make_unique()
    sc.pp.filter_genes(adata, min_cells=10)
    sc.pp.normalize_total(adata, target_sum=1e4)
    sc.pp.log1p(adata)
    reference, query = adata[:300].copy(), adata[300:]
    sc.pp.pca(reference)
    sc.pp.neighbors(reference)
    sc.tl.leiden(reference, 0.5, key_added="label", flavor="igraph", n_iterations=2, directed=False)
    query = query[:, reference.var_names].copy()
    sc.tl.ingest(query, reference, obs="label", embedding_method="pca")
    return {
        "reference": reference,
        "query": query,
        "both": ad.concat({"reference": reference, "query": query}, label="batch"),
    }


@pytest.mark.filterwarnings("ignore")
def test_real_cells_are_mapped_on_others_as_in_memory(pbmc3k):
    want, got = (labelled_by_another(pbmc3k, backed) for backed in (None, "oom"))
    assert differences(want, got) == []
    assert all(isinstance(adata.X, OOMMatrix) for adata in got.values())
