"""Ctrl-C in the middle of a call stops it, and leaves everything as it was."""

from __future__ import annotations

import gc
import os
import signal
import threading

import numpy as np
import pytest
import scanpy as sc
from scipy import sparse

from scanpy_oom.dispatch.registry import BUILTIN
from scanpy_oom.engine import thread_pass
from scanpy_oom.engine.cache import policy
from scanpy_oom.matrix import underlying
from scanpy_oom.memory.ledger import ACCOUNTANT
from scanpy_oom.overrides.pp import _pca as pca_module

from ..comparison import assert_same_anndata
from ..matrices import annotated, counts
from ..versions import has


def quality(adata):
    sc.pp.calculate_qc_metrics(adata, qc_vars=["mt"], percent_top=[5], inplace=True)


def logarithms(adata):
    sc.pp.normalize_total(adata, target_sum=100)
    sc.pp.log1p(adata)


def labels(adata):
    """Give cells coordinates, and neighbours that are the next ones in the file."""
    logarithms(adata)
    n = adata.n_obs
    adata.obsm["X_pca"] = np.arange(2.0 * n).reshape(n, 2)
    adata.obsp["connectivities"] = sparse.diags([1.0, 1.0], [-1, 1], shape=(n, n), format="csr")
    adata.uns["neighbors"] = {"connectivities_key": "connectivities", "distances_key": "connectivities", "params": {}}


def ranked(adata):
    logarithms(adata)
    sc.tl.rank_genes_groups(adata, "kind", method="t-test")


def reference(adata):
    """Return other cells with the same genes, and with coordinates of their own."""
    other = annotated(counts(200, adata.n_vars, seed=1, dtype="float64"))
    sc.pp.pca(other, n_comps=5)
    sc.pp.neighbors(other, n_neighbors=5)
    return other


GENES = [f"gene{i}" for i in range(6, 12)]

OVERRIDES = {
    "pp.calculate_qc_metrics": (None, quality),
    "pp.combat": (logarithms, lambda a: sc.pp.combat(a, "batch")),
    "pp.downsample_counts": (None, lambda a: sc.pp.downsample_counts(a, counts_per_cell=5)),
    "pp.filter_cells": (None, lambda a: sc.pp.filter_cells(a, min_genes=3)),
    "pp.filter_genes": (None, lambda a: sc.pp.filter_genes(a, min_cells=3)),
    "pp.filter_genes_dispersion": (None, lambda a: sc.pp.filter_genes_dispersion(a, n_top_genes=9)),
    "pp.highly_variable_genes": (logarithms, lambda a: sc.pp.highly_variable_genes(a, n_top_genes=9, subset=True)),
    "pp.normalize_per_cell": (None, lambda a: sc.pp.normalize_per_cell(a)),
    "pp.normalize_total": (None, lambda a: sc.pp.normalize_total(a)),
    "pp.pca": (logarithms, lambda a: sc.pp.pca(a, n_comps=5)),
    "pp.regress_out": (quality, lambda a: sc.pp.regress_out(a, ["total_counts", "pct_counts_mt"])),
    "pp.scale": (logarithms, lambda a: sc.pp.scale(a, max_value=3)),
    "pp.scrublet": (None, lambda a: sc.pp.scrublet(a, n_prin_comps=5, knn_dist_metric="euclidean")),
    "pp.scrublet_simulate_doublets": (None, lambda a: sc.pp.scrublet_simulate_doublets(a)),
    "tl.dendrogram": (logarithms, lambda a: sc.tl.dendrogram(a, "kind", var_names=GENES)),
    "tl.filter_rank_genes_groups": (ranked, lambda a: sc.tl.filter_rank_genes_groups(a)),
    "tl.ingest": (logarithms, lambda a: sc.tl.ingest(a, reference(a), obs="kind", embedding_method="pca")),
    "tl.rank_genes_groups": (logarithms, lambda a: sc.tl.rank_genes_groups(a, "kind", method="wilcoxon")),
    "tl.score_genes": (logarithms, lambda a: sc.tl.score_genes(a, GENES, ctrl_size=5)),
    "get.aggregate": (None, lambda a: sc.get.aggregate(a, "kind", ["mean", "var", "median"])),
    "metrics.gearys_c": (labels, lambda a: sc.metrics.gearys_c(a)),
    "metrics.morans_i": (labels, lambda a: sc.metrics.morans_i(a)),
    "pl.highest_expr_genes": (None, lambda a: sc.pl.highest_expr_genes(a, n_top=5, show=False)),
    "experimental.pp.highly_variable_genes": (
        None,
        lambda a: sc.experimental.pp.highly_variable_genes(a, n_top_genes=9),
    ),
    "experimental.pp.normalize_pearson_residuals": (
        None,
        lambda a: sc.experimental.pp.normalize_pearson_residuals(a),
    ),
    "experimental.pp.normalize_pearson_residuals_pca": (
        None,
        lambda a: sc.experimental.pp.normalize_pearson_residuals_pca(a, n_comps=5),
    ),
    "experimental.pp.recipe_pearson_residuals": (
        None,
        lambda a: sc.experimental.pp.recipe_pearson_residuals(a, n_top_genes=40, n_comps=5),
    ),
}
for gone in [name for name in OVERRIDES if not has(name)]:
    del OVERRIDES[gone]

READS_NOTHING = {"pp.log1p", "pp.sqrt"}
"""Which there is nothing to interrupt in."""

OF_DENSE_ALONE = {"pp.recipe_weinreb17"}
"""Which is interrupted in the steps that it consists of."""

CALLS = OVERRIDES | {
    "an array in memory": (None, lambda a: a.X.toarray()),
    "to_memory": (None, lambda a: a.to_memory()),
    "a sum": (None, lambda a: a.X.sum(axis=0)),
    "a product": (None, lambda a: a.X.T @ np.ones((a.n_obs, 2))),
}


N_OBS = {"pp.scrublet": 600}
"""Of what takes long."""


def without_caches() -> dict[str, int]:
    """What is held, but for chunks of files: these may stay."""
    gc.collect()
    return {kind: nbytes for kind, nbytes in ACCOUNTANT.held.items() if kind != "caches"}


class Fetches:
    """Counts blocks as they are fetched, and interrupts when it comes to one of them."""

    def __init__(self):
        self._fetch = thread_pass.fetch
        self._lock = threading.Lock()
        self.n = 0
        self.interrupt_at = None

    def __call__(self, *arguments):
        with self._lock:
            self.n += 1
            sent = self.n == self.interrupt_at
        if sent:
            os.kill(os.getpid(), signal.SIGINT)
        return self._fetch(*arguments)


@pytest.fixture(params=[(name, when) for name in CALLS for when in ("first", "last")], ids="-".join)
def call(request, tmp_path, monkeypatch):
    """An AnnData, the same again, and a call that is interrupted while its first or its last block is fetched."""
    name, when = request.param
    before, function = CALLS[name]
    x = counts(N_OBS.get(name, 3000), 60)
    x = x[np.flatnonzero(x.sum(axis=1).A1)]  # Pearson residuals of cells without counts are NaN
    annotated(x[:, np.flatnonzero(x.sum(axis=0).A1)]).write_h5ad(tmp_path / "a.h5ad", compression="gzip")
    adata, untouched, rehearsed = (sc.read_h5ad(tmp_path / "a.h5ad", backed="oom") for _ in range(3))
    for one in (adata, untouched, rehearsed):
        if before is not None:
            before(one)
    fetches = Fetches()
    monkeypatch.setattr(thread_pass, "fetch", fetches)
    monkeypatch.setattr(policy, "IN_MEMORY", 0)
    monkeypatch.setattr(pca_module, "SMALL", 0)
    if when == "last":
        function(rehearsed)
    del rehearsed, one
    fetches.interrupt_at = max(fetches.n, 1)
    fetches.n = 0
    handler = signal.signal(signal.SIGINT, signal.default_int_handler)  # which whoever started the tests may ignore
    yield adata, untouched, function, when
    signal.signal(signal.SIGINT, handler)


def test_an_interrupt_leaves_the_object_scratch_and_threads_as_they_were(call):
    adata, untouched, function, when = call
    matrices = dict(underlying(adata))
    held = without_caches()
    copies = {slot: list(matrix.copies) for slot, matrix in matrices.items()}
    with pytest.raises(KeyboardInterrupt):
        function(adata)
    for thread in threading.enumerate():
        if thread.name.startswith("scanpy-oom_") and thread.ident is not None:  # else it was about to be started
            thread.join(timeout=10)
            assert not thread.is_alive()
    now = without_caches()
    if when == "last":  # what an earlier pass of the same call has left is whole, and stays
        for kind in ("copies", "statistics"):
            held.pop(kind, None)
            now.pop(kind, None)
    assert now == held
    for slot, matrix in underlying(adata):
        assert matrix is matrices[slot], slot
        assert when == "last" or list(matrix.copies) == copies[slot]
    assert_same_anndata(untouched, adata)
    function(adata)  # and it works when it is called again
    function(untouched)
    assert_same_anndata(untouched, adata)
    assert np.all(adata.obs_names == untouched.obs_names)


def test_every_override_is_among_them():
    ours = {override.function for override in BUILTIN if override.implementation is not None}
    assert ours == OVERRIDES.keys() | READS_NOTHING | OF_DENSE_ALONE
