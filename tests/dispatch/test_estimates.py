"""What scanpy's own graph functions take is told before they run, and is what they then take."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import anndata as ad
import numpy as np
import pytest
import scanpy as sc
from scipy import sparse

from scanpy_oom import settings
from scanpy_oom.dispatch.estimates import Estimate, advise, estimate, in_words

from ..matrices import oom


def cells(n: int, k: int = 3) -> ad.AnnData:
    """Cells out of memory, each with edges to the next ones of a ring."""
    adata = ad.AnnData(oom(sparse.csr_matrix((n, 2), dtype=np.float32)))
    adata.obsm["X_pca"] = np.zeros((n, 2), dtype=np.float32)
    steps = np.arange(1, k + 1)
    rows = np.repeat(np.arange(n), k)
    half = sparse.csr_matrix((np.ones(n * k), (rows, (rows + np.tile(steps, n)) % n)), shape=(n, n))
    adata.obsp["connectivities"] = half + half.T
    adata.uns["neighbors"] = {"connectivities_key": "connectivities", "params": {"method": "umap", "use_rep": "X_pca"}}
    return adata


def test_few_cells_are_worth_no_word():
    adata = cells(3000)
    for name in ("neighbors", "umap", "leiden"):
        assert "of one core" not in adata.oom.explain(name).reason
        assert "memory, where" not in adata.oom.explain(name).reason


def test_what_takes_minutes_or_more_than_the_limit_is_told_with_the_way_out():
    adata = cells(100_000, 24)
    said = adata.oom.explain("umap").reason
    assert "about 4 minutes of one core; with `settings.graph = 'fast'` it takes a fraction of that" in said
    assert "(limit: " not in said
    settings.memory_limit = "200 MB"
    assert "about 438 MB of memory (limit: 200 MB)" in adata.oom.explain("neighbors", use_rep="X_pca").reason
    assert "about 240 MB of memory (limit: 200 MB) and about 4 minutes" in adata.oom.explain("umap").reason


def test_a_call_logs_it_in_one_line(monkeypatch):
    lines: list[str] = []
    monkeypatch.setattr(sc.logging, "info", lambda message, **_: lines.append(message))
    adata = cells(100_000, 24)
    advise("tl.umap", {"adata": adata})
    assert lines == [f"sc.tl.umap: {in_words('tl.umap', {'adata': adata})}."]
    advise("tl.umap", {"adata": cells(100)})
    advise("pp.pca", {"adata": adata})
    assert len(lines) == 1


@pytest.mark.parametrize(
    ("function", "arguments"),
    [
        ("pp.pca", {}),
        ("pp.neighbors", {"transformer": "sklearn"}),
        ("pp.neighbors", {"knn": False}),
        ("tl.umap", {"method": "rapids"}),
        ("tl.umap", {"neighbors_key": "others"}),
        ("tl.leiden", {"obsp": "others"}),
    ],
)
def test_what_leads_elsewhere_is_not_estimated(function, arguments):
    assert estimate(function, {"adata": cells(20_000), **arguments}) is None


def test_more_edges_and_epochs_take_longer():
    adata = cells(20_000)
    less, more = (estimate("tl.umap", {"adata": adata, "maxiter": epochs}) for epochs in (100, 200))
    assert isinstance(less, Estimate)
    assert isinstance(more, Estimate)
    assert more.seconds > less.seconds
    assert more.nbytes == less.nbytes
    graph = adata.obsp["connectivities"] * 2
    assert estimate("tl.leiden", {"adata": adata, "adjacency": graph}) == estimate("tl.leiden", {"adata": adata})


MEASURED = """
import sys, time
import anndata as ad, numpy as np, scanpy as sc, pynndescent, umap
from scanpy_oom.memory.peak import PeakMemory

random = np.random.default_rng(0)
centers = random.normal(size=(20, 50)) * 4
adata = ad.AnnData(np.zeros((20_000, 1), dtype=np.float32))
adata.obsm["X_pca"] = (centers[random.integers(0, 20, 20_000)] + random.normal(size=(20_000, 50))).astype(np.float32)
for function in (sc.pp.neighbors, sc.tl.umap):
    start = time.process_time()
    with PeakMemory() as memory:
        function(adata)
    print(time.process_time() - start, memory.nbytes, adata.obsp["connectivities"].nnz)
"""


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="the kernel tells the peak on Linux alone")
def test_estimates_are_what_scanpy_takes():
    done = subprocess.run(
        [sys.executable, "-c", MEASURED],
        check=True,
        capture_output=True,
        text=True,
        env={**os.environ, "SCANPY_OOM_DISABLE": "1"},
    )
    adata = cells(20_000)
    for function, line in zip(("pp.neighbors", "tl.umap"), done.stdout.splitlines(), strict=True):
        seconds, nbytes, n_edges = map(float, line.split())
        adata.obsp["connectivities"] = sparse.csr_matrix(
            (np.ones(int(n_edges)), np.zeros(int(n_edges), dtype=np.int32), np.r_[0, np.full(20_000, int(n_edges))]),
            shape=(20_000, 20_000),
        )
        found = estimate(function, {"adata": adata})
        assert isinstance(found, Estimate)
        assert found.seconds / 3 < seconds < found.seconds * 3  # other machines, and other work beside
        assert nbytes < 2 * found.nbytes
        assert nbytes > found.nbytes / 2 or nbytes < 50e6  # below which it is what libraries take
