"""Preprocessing on a big file, in memory and out of memory: seconds, and the peak of memory above imports.

usage: python benchmarks/pp.py FILE.h5ad [--only NAME ...] [--skip memory|oom]

FILE holds counts. Each step runs in a fresh process, on an object that was just opened and prepared; reading the file
is part of what is measured, since out of memory the passes read it. Run one at a time, on a machine with the memory
that scanpy takes: 16 GB and more at 100,000 cells.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
import warnings
from pathlib import Path


def _lognorm(sc, adata):
    sc.pp.normalize_total(adata, target_sum=1e4)
    sc.pp.log1p(adata)


def _hvg(**how):
    def step(sc, adata):
        _lognorm(sc, adata)
        sc.pp.highly_variable_genes(adata, n_top_genes=2000, **how)

    return step


def _hvg_v3(flavor):
    def step(sc, adata):
        adata.layers["counts"] = adata.X.copy()
        _lognorm(sc, adata)
        sc.pp.highly_variable_genes(adata, n_top_genes=2000, flavor=flavor, layer="counts")

    return step


def _pearson(sc, adata):
    sc.experimental.pp.highly_variable_genes(adata, n_top_genes=2000)


def _selected(sc, adata):
    _lognorm(sc, adata)
    sc.pp.highly_variable_genes(adata, n_top_genes=2000)
    return adata[:, adata.var["highly_variable"]].copy()


def _scale_pca(sc, adata):
    adata = _selected(sc, adata)
    sc.pp.scale(adata, max_value=10)
    sc.pp.pca(adata, n_comps=50)


def _regress_out(sc, adata):
    sc.pp.calculate_qc_metrics(adata, percent_top=None, inplace=True)
    adata = _selected(sc, adata)
    sc.pp.regress_out(adata, ["total_counts"])
    adata.X.sum(axis=0)  # the residual is computed when it is read


def _all_genes(sc, adata):
    _lognorm(sc, adata)
    sc.pp.pca(adata, n_comps=50)


def _scrublet(sc, adata):
    sc.pp.scrublet(adata, threshold=0.25)


STEPS = {
    "hvg seurat": _hvg(),
    "hvg cell_ranger": _hvg(flavor="cell_ranger"),
    "hvg seurat_v3": _hvg_v3("seurat_v3"),
    "hvg seurat_v3_paper": _hvg_v3("seurat_v3_paper"),
    "hvg pearson": _pearson,
    "scale+pca": _scale_pca,
    "regress_out": _regress_out,
    "pca of all genes": _all_genes,
    "scrublet": _scrublet,
}


def run(file: str, name: str, backend: str) -> None:
    """Run one step and print what it took."""
    import scanpy as sc

    import scanpy_oom.matrix
    import scanpy_oom.queries.answers  # noqa: F401
    from scanpy_oom.memory.peak import PeakMemory

    warnings.simplefilter("ignore")
    with PeakMemory() as memory:
        started = time.perf_counter()
        adata = sc.read_h5ad(file, backed="oom") if backend == "oom" else sc.read_h5ad(file)
        STEPS[name](sc, adata)
        seconds = time.perf_counter() - started
    sys.stdout.write(json.dumps({"seconds": seconds, "peak": memory.nbytes}) + "\n")


def main() -> None:
    """Run each step in a process of its own, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", type=Path)
    parser.add_argument("--only", nargs="*", choices=STEPS, default=list(STEPS))
    parser.add_argument("--skip", choices=["memory", "oom"])
    parser.add_argument("--timeout", type=float, default=3600)
    parser.add_argument("--one", nargs=2, metavar=("NAME", "BACKEND"), help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.one:
        run(str(args.file), *args.one)
        return
    for name in args.only:
        for backend in ("oom", "memory"):
            if backend == args.skip:
                continue
            command = [sys.executable, __file__, str(args.file), "--one", name, backend]
            try:
                done = subprocess.run(command, capture_output=True, text=True, timeout=args.timeout, check=False)
                found = json.loads(done.stdout.splitlines()[-1])
                told = f"{found['seconds']:8.1f} s {found['peak'] / 1e6:8.0f} MB"
            except subprocess.TimeoutExpired:
                told = f"not done after {args.timeout:.0f} s"
            except IndexError:
                told = f"failed ({done.returncode}): {done.stderr.strip().splitlines()[-1:]}"
            sys.stdout.write(f"{name:20s} {backend:7s} {told}\n")
            sys.stdout.flush()


if __name__ == "__main__":
    main()
