from __future__ import annotations

import numpy as np
import pytest
import scanpy as sc

from scanpy_oom.passes import record

from ..matrices import counts, pair

CALLS = {
    "harmonypy": lambda adata: sc.external.pp.harmony_integrate(adata, "batch", max_iter_harmony=2),
    "bbknn": lambda adata: sc.external.pp.bbknn(adata, batch_key="batch"),
}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("package", CALLS)
def test_what_works_on_components_runs_without_reading_the_matrix(package):
    pytest.importorskip(package)
    found = []
    for adata in pair(counts(300, 40)):
        adata.obs["batch"] = np.where(np.arange(adata.n_obs) % 3 == 0, "a", "b")
        adata.obs["batch"] = adata.obs["batch"].astype("category")
        sc.pp.pca(adata, n_comps=10)
        n_passes = len(record.recent())
        CALLS[package](adata)
        assert len(record.recent()) == n_passes
        found.append(adata)
    memory, lazy = found
    for of_memory, of_lazy in ((memory.obsm, lazy.obsm), (memory.obsp, lazy.obsp)):
        assert of_memory.keys() == of_lazy.keys()
    if package == "harmonypy":
        np.testing.assert_allclose(lazy.obsm["X_pca_harmony"], memory.obsm["X_pca_harmony"], rtol=1e-4, atol=1e-4)
    else:
        assert (memory.obsp["connectivities"] != lazy.obsp["connectivities"]).nnz == 0
