"""Ctrl-C in the middle of a call stops it, and leaves everything as it was."""

from __future__ import annotations

import os
import signal
import sys
import threading

import numpy as np
import pytest
import scanpy as sc

from scanpy_oom.matrix import underlying
from scanpy_oom.memory import ACCOUNTANT
from scanpy_oom.passes import run as runner
from scanpy_oom.passes import staging
from scanpy_oom.pp import _pca as pca_module

from ..comparison import assert_same_anndata
from ..matrices import annotated, counts

run_module = sys.modules[runner.__module__]


def quality(adata):
    sc.pp.calculate_qc_metrics(adata, qc_vars=["mt"], percent_top=[5], inplace=True)


def logarithms(adata):
    sc.pp.normalize_total(adata, target_sum=100)
    sc.pp.log1p(adata)


CALLS = {
    "calculate_qc_metrics": (None, quality),
    "filter_cells": (None, lambda a: sc.pp.filter_cells(a, min_genes=3)),
    "filter_genes": (None, lambda a: sc.pp.filter_genes(a, min_cells=3)),
    "normalize_total": (None, lambda a: sc.pp.normalize_total(a)),
    "highly_variable_genes": (logarithms, lambda a: sc.pp.highly_variable_genes(a, n_top_genes=9, subset=True)),
    "scale": (logarithms, lambda a: sc.pp.scale(a, max_value=3)),
    "pca": (logarithms, lambda a: sc.pp.pca(a, n_comps=5)),
    "rank_genes_groups": (logarithms, lambda a: sc.tl.rank_genes_groups(a, "kind")),
    "an array in memory": (None, lambda a: np.asarray(a.X)),
    "to_memory": (None, lambda a: a.to_memory()),
}


def without_caches() -> dict[str, int]:
    """What is held, but for chunks of files: these may stay."""
    return {kind: nbytes for kind, nbytes in ACCOUNTANT.held.items() if kind != "caches"}


class Fetches:
    """Counts blocks as they are fetched, and interrupts when it comes to one of them."""

    def __init__(self):
        self._fetch = run_module.fetch
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
    annotated(counts(3000, 60)).write_h5ad(tmp_path / "a.h5ad", compression="gzip")
    adata, untouched, rehearsed = (sc.read_h5ad(tmp_path / "a.h5ad", backed="oom") for _ in range(3))
    for one in (adata, untouched, rehearsed):
        if before is not None:
            before(one)
    fetches = Fetches()
    monkeypatch.setattr(run_module, "fetch", fetches)
    monkeypatch.setattr(staging, "IN_MEMORY", 0)
    monkeypatch.setattr(pca_module, "SMALL", 0)
    if when == "last":
        function(rehearsed)
    del rehearsed
    fetches.interrupt_at = max(fetches.n, 1)
    fetches.n = 0
    handler = signal.signal(signal.SIGINT, signal.default_int_handler)  # which whoever started the tests may ignore
    yield adata, untouched, function, when
    signal.signal(signal.SIGINT, handler)


def test_an_interrupt_leaves_the_object_scratch_and_threads_as_they_were(call):
    adata, untouched, function, when = call
    matrices = dict(underlying(adata))
    held = without_caches()
    with pytest.raises(KeyboardInterrupt):
        function(adata)
    for thread in threading.enumerate():
        if thread.name.startswith("scanpy-oom_") and thread.ident is not None:  # else it was about to be started
            thread.join(timeout=10)
            assert not thread.is_alive()
    assert without_caches() == held
    for slot, matrix in underlying(adata):
        assert matrix is matrices[slot], slot
        # what an earlier pass of the same call has left is whole, and stays
        assert when == "last" or list(matrix.copies) == []
    assert_same_anndata(untouched, adata)
    function(adata)  # and it works when it is called again
    function(untouched)
    assert_same_anndata(untouched, adata)
    assert np.all(adata.obs_names == untouched.obs_names)
