"""The peak memory of a whole script stays within the limit, at any limit, and results do not depend on it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import anndata as ad
import numpy as np
import pandas as pd
import pytest
from scipy import sparse

_SCRIPT = """
import json, sys, threading, time
import numpy as np, psutil, scanpy as sc
process, peak, done = psutil.Process(), [0], threading.Event()
before = process.memory_info().rss
def watch():
    while not done.is_set():
        peak[0] = max(peak[0], process.memory_info().rss)
        time.sleep(0.005)
watcher = threading.Thread(target=watch)
watcher.start()
try:
    adata = sc.read_h5ad(sys.argv[1], backed="oom")
    sc.pp.calculate_qc_metrics(adata, percent_top=None, inplace=True)
    sc.pp.filter_cells(adata, min_genes=10)
    sc.pp.filter_genes(adata, min_cells=3)
    sc.pp.normalize_total(adata, target_sum=1e4)
    sc.pp.log1p(adata)
    sc.pp.highly_variable_genes(adata, n_top_genes=2000)
    adata = adata[:, adata.var["highly_variable"].to_numpy()].copy()
    sc.pp.scale(adata, max_value=10)
    sc.pp.pca(adata, n_comps=20)
    sc.tl.rank_genes_groups(adata, "group", method="t-test")
finally:
    done.set()
    watcher.join()
from scanpy_oom.memory.ledger import ACCOUNTANT
np.savez(sys.argv[2], pca=adata.obsm["X_pca"], **{name: adata.var[name] for name in ("means", "dispersions", "std")})
print(json.dumps({"peak": peak[0] - before, "accounted": ACCOUNTANT.peak, "results": ACCOUNTANT.held["results"]}))
"""


@pytest.fixture(scope="module")
def path(tmp_path_factory) -> Path:
    """30,000 cells and 5,000 genes: 1.2 GB dense, and 120 MB as CSR."""
    rng = np.random.default_rng(0)
    n_obs, n_vars, per_cell = 30_000, 5_000, 500
    weights = np.sort(rng.pareto(1.5, n_vars) + 0.05)
    cells = rng.random((n_obs, 1), dtype=np.float32)
    blocks = []
    for start in range(0, n_obs, 5_000):
        columns = rng.choice(n_vars, (5_000, per_cell), p=weights / weights.sum())
        columns = (columns * (1 - 0.2 * cells[start : start + 5_000])).astype(np.int32)
        indptr = np.arange(0, 5_000 * per_cell + 1, per_cell)
        block = sparse.csr_matrix((np.ones(columns.size, dtype=np.float32), columns.ravel(), indptr), (5_000, n_vars))
        block.sum_duplicates()
        blocks.append(block)
    adata = ad.AnnData(sparse.vstack(blocks, format="csr"))
    adata.obs["group"] = pd.Categorical([f"g{k}" for k in np.arange(n_obs) % 5])
    folder = tmp_path_factory.mktemp("memory")
    adata.write_h5ad(folder / "a.h5ad", compression="gzip", compression_opts=1)
    return folder / "a.h5ad"


def run_within(limit: str, path: Path, out: Path) -> dict[str, int]:
    command = [sys.executable, "-c", _SCRIPT, str(path), str(out)]
    environment = dict(os.environ, SCANPY_OOM_MEMORY_LIMIT=limit)
    subprocess.run(command, env=environment, check=True, capture_output=True)  # kernels may be compiled
    found = subprocess.run(command, env=environment, check=True, capture_output=True, text=True)
    return json.loads(found.stdout)


def test_a_script_stays_within_its_limit_and_results_do_not_depend_on_it(path, tmp_path):
    limits = {"200MB": 2e8, "300MB": 3e8, "1GB": 1e9}
    found = {limit: run_within(limit, path, tmp_path / f"{limit}.npz") for limit in limits}
    for limit, nbytes in limits.items():
        assert found[limit]["accounted"] <= nbytes, limit
    for limit in ("300MB", "1GB"):
        assert found[limit]["peak"] - found[limit]["results"] <= limits[limit], found
    results = [np.load(tmp_path / f"{limit}.npz") for limit in limits]
    for other in results[1:]:
        for name in results[0].files:
            np.testing.assert_array_equal(other[name], results[0][name], err_msg=name)
