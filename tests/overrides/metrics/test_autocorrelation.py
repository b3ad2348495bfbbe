from __future__ import annotations

import numpy as np
import pytest
import scanpy as sc
from scipy import sparse

from scanpy_oom.memory.ledger import ACCOUNTANT

from ...comparison import assert_same_outcome
from ...matrices import counts, pair

METRICS = {"Moran's I": sc.metrics.morans_i, "Geary's C": sc.metrics.gearys_c}
ARGUMENTS = [{}, {"layer": "counts"}, {"use_raw": True}, {"obsm": "X_pca"}, {"use_graph": "connectivities"}]


def connected(adata):
    adata.layers["counts"] = adata.X.copy()
    sc.pp.log1p(adata)
    adata.raw = adata.copy()
    adata.obsm["X_pca"] = np.random.default_rng(0).normal(size=(adata.n_obs, 5))
    sc.pp.neighbors(adata, n_neighbors=8, use_rep="X_pca", random_state=0)


@pytest.mark.parametrize("metric", METRICS.values(), ids=METRICS)
@pytest.mark.parametrize("arguments", ARGUMENTS, ids=str)
def test_autocorrelation_is_scanpy_s_for_all_arguments(arguments, metric):
    assert_same_outcome(lambda adata: metric(adata, **arguments), counts(60, 30), before=connected, rtol=1e-5)


@pytest.mark.parametrize("metric", METRICS.values(), ids=METRICS)
def test_autocorrelation_of_values_by_gene_is_scanpy_s(metric):
    call = lambda adata: metric(adata.obsp["connectivities"], adata.X.T)
    assert_same_outcome(call, counts(60, 30), before=connected, rtol=1e-5)


@pytest.mark.parametrize("metric", METRICS.values(), ids=METRICS)
def test_genes_are_taken_some_at_a_time_where_there_is_little_memory(metric, monkeypatch):
    monkeypatch.setattr(
        "scanpy_oom.overrides.metrics._autocorrelation._WIDENED", ACCOUNTANT.available_to_passes() // 2_000
    )
    assert_same_outcome(metric, counts(60, 30), before=connected, rtol=1e-5)


@pytest.mark.parametrize("metric", METRICS.values(), ids=METRICS)
@pytest.mark.parametrize("shape", [(0, 5), (6, 0)])
def test_no_genes_are_refused_or_taken_as_in_memory(shape, metric):
    x, graph = sparse.csr_matrix(shape, dtype="float32"), sparse.csr_matrix(np.ones((6, 6)))
    given = []
    for adata in pair(x):
        try:
            given.append(metric(graph, adata.X if shape[0] == 0 else adata.X.T).tolist())
        except Exception as error:  # noqa: BLE001 - whichever scanpy raises
            given.append(type(error))
    assert given[0] == given[1]
