"""Neighbours, UMAP and Leiden of cells around 40 centres in 50 components: seconds, CPU seconds and memory.

``python benchmarks/graph.py N_CELLS [--graph fast|scanpy] [--memory-limit 1GB] [--threads 2]``: each run is a process.
"""

from __future__ import annotations

import argparse
import hashlib
import time

import anndata as ad
import numpy as np
import pandas as pd
import scanpy as sc

import scanpy_oom
from scanpy_oom.memory.peak import PeakMemory
from scanpy_oom.memory.rss import resident_memory

N_CENTERS, N_COMPONENTS, BLOCK = 40, 50, 100_000

STEPS = {
    "neighbors": lambda adata: sc.pp.neighbors(adata, use_rep="X_pca"),
    "umap": sc.tl.umap,
    "leiden": lambda adata: sc.tl.leiden(adata, flavor="igraph", n_iterations=2, directed=False),
}


def cells(n: int, *, clustered: bool) -> ad.AnnData:
    """Cells around centres, or without any, whose components have less and less variance, as those of PCA do."""
    random = np.random.default_rng(0)
    centers = random.normal(size=(N_CENTERS, N_COMPONENTS)) * np.linspace(6, 0.5, N_COMPONENTS) * clustered
    points = np.empty((n, N_COMPONENTS), dtype=np.float32)
    for start in range(0, n, BLOCK):
        some = points[start : start + BLOCK]
        noise = random.normal(size=some.shape) * np.linspace(2, 1, N_COMPONENTS)
        some[:] = centers[random.integers(0, N_CENTERS, len(some))] + noise
    adata = ad.AnnData(obs=pd.DataFrame(index=np.arange(n).astype(str)))
    adata.obsm["X_pca"] = points
    return adata


def digest(adata: ad.AnnData) -> str:
    """Return a number that tells results apart."""
    parts = adata.obsp["connectivities"].data, adata.obsm["X_umap"], adata.obs["leiden"].cat.codes.to_numpy()
    return hashlib.md5(b"".join(part.tobytes() for part in parts), usedforsecurity=False).hexdigest()


def main() -> None:
    """Run the steps, and print a line for each."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("n_cells", type=int)
    parser.add_argument("--graph", choices=("scanpy", "fast"), default="fast")
    parser.add_argument("--memory-limit", default="1GB")
    parser.add_argument("--threads", type=int)
    parser.add_argument("--no-clusters", action="store_true")
    asked = parser.parse_args()
    settings = scanpy_oom.settings
    settings.graph, settings.memory_limit = asked.graph, asked.memory_limit
    settings.n_threads = asked.threads or settings.n_threads
    begin = resident_memory()
    adata = cells(asked.n_cells, clustered=not asked.no_clusters)
    for name, step in STEPS.items():
        before, cpu, start = resident_memory(), time.process_time(), time.perf_counter()
        with PeakMemory() as memory:
            step(adata)
        seconds, cpu = time.perf_counter() - start, time.process_time() - cpu
        peak = (before - begin + memory.nbytes) / 1e6
        print(f"{name:10} {seconds:7.1f} s {cpu:7.1f} s of CPU {peak:7,.0f} MB with all results", flush=True)
    recall = adata.uns["neighbors"]["params"].get("recall")
    print(f"recall {recall}, {adata.obs['leiden'].nunique()} clusters, results {digest(adata)}")


if __name__ == "__main__":
    main()
