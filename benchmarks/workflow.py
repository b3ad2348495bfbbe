"""The workflow from the file to clusters, with the fast graph: seconds, CPU seconds and peak memory by step.

``python benchmarks/workflow.py FILE.h5ad [--memory-limit 1GB]``. The file holds counts. Memory is the peak above what
is resident after the imports, with all results so far. On Linux a control group shows that no more is needed.
"""

from __future__ import annotations

import argparse
import time
from typing import TYPE_CHECKING

import scanpy as sc

import scanpy_oom
from scanpy_oom.memory.peak import PeakMemory
from scanpy_oom.memory.rss import resident_memory

if TYPE_CHECKING:
    from collections.abc import Iterator


def steps(path: str) -> Iterator[str]:
    """Take the steps one by one, and tell which comes next."""
    yield "read"
    adata = sc.read_h5ad(path, backed="oom")
    yield "qc"
    adata.var["mt"] = adata.var_names.str.startswith("MT-")
    sc.pp.calculate_qc_metrics(adata, qc_vars=["mt"], percent_top=None, log1p=False, inplace=True)
    yield "filter"
    sc.pp.filter_cells(adata, min_genes=200)
    sc.pp.filter_genes(adata, min_cells=3)
    yield "normalize"
    sc.pp.normalize_total(adata, target_sum=1e4)
    sc.pp.log1p(adata)
    yield "hvg"
    sc.pp.highly_variable_genes(adata, n_top_genes=2000)
    yield "subset"
    adata.raw = adata
    adata = adata[:, adata.var["highly_variable"]].copy()
    yield "pca"
    sc.pp.scale(adata, max_value=10)
    sc.pp.pca(adata)
    yield "neighbors"
    sc.pp.neighbors(adata)
    yield "umap"
    sc.tl.umap(adata)
    yield "leiden"
    sc.tl.leiden(adata, flavor="igraph", n_iterations=2, directed=False)
    yield "t-test"
    sc.tl.rank_genes_groups(adata, "leiden", method="t-test")


def main() -> None:
    """Run the steps, and print a line for each."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("file")
    parser.add_argument("--memory-limit", default="1GB")
    asked = parser.parse_args()
    scanpy_oom.settings.graph, scanpy_oom.settings.memory_limit = "fast", asked.memory_limit
    begin, started = resident_memory(), time.perf_counter()
    todo = steps(asked.file)
    name: str | None = next(todo)
    while name is not None:
        before, cpu, start = resident_memory(), time.process_time(), time.perf_counter()
        with PeakMemory() as memory:
            following = next(todo, None)
        seconds, cpu = time.perf_counter() - start, time.process_time() - cpu
        peak = (before - begin + memory.nbytes) / 1e6
        print(f"{name:10} {seconds:7.1f} s {cpu:7.1f} s of CPU {peak:7,.0f} MB with all results", flush=True)
        name = following
    print(f"in all {time.perf_counter() - started:,.0f} s")


if __name__ == "__main__":
    main()
