"""Marker genes and a plot, in memory and out of memory.

``python benchmarks/tl.py FILE.h5ad`` runs each step on raw counts that are normalised and logarithmised, in and out of
memory, each in a process of its own. It prints seconds, passes and peak memory above that after the imports (out of
memory from the reading of the file on, in memory likewise), and how far the results are apart.
"""

from __future__ import annotations

import argparse
import json
import pickle
import subprocess
import sys
import tempfile
import time
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

if TYPE_CHECKING:
    from collections.abc import Callable

N_GROUPS = 25
N_PLOTTED = 20


def label(adata: Any) -> None:
    """Split the cells into 25 groups that differ: by their kind where the file names one, and by rank of depth."""
    kinds = adata.obs["cell_type"].cat.codes.to_numpy() if "cell_type" in adata.obs else np.zeros(adata.n_obs, int)
    order = np.lexsort((np.arange(adata.n_obs) * 7919 % 104729, kinds))
    codes = np.empty(adata.n_obs, dtype=int)
    codes[order] = np.arange(adata.n_obs) * N_GROUPS // adata.n_obs
    adata.obs["group"] = pd.Categorical([f"g{code:02d}" for code in codes])


def rank(method: str) -> Callable[[Any], Any]:
    """Rank genes by a test, for all groups."""

    def call(adata: Any) -> Any:
        import scanpy as sc

        sc.tl.rank_genes_groups(adata, "group", method=method)
        found = adata.uns["rank_genes_groups"]
        return {key: pd.DataFrame.from_records(found[key]) for key in ("names", "scores", "logfoldchanges", "pvals")}

    return call


def dotplot(adata: Any) -> Any:
    """Plot some genes."""
    import scanpy as sc

    genes = list(adata.var_names[:: adata.n_vars // N_PLOTTED][:N_PLOTTED])
    plot = sc.pl.dotplot(adata, genes, "group", return_fig=True, show=False)
    return {"scores": plot.dot_color_df, "fractions": plot.dot_size_df}


STEPS: dict[str, list[Callable[[Any], Any]]] = {
    "wilcoxon": [rank("wilcoxon")],
    "t-test": [rank("t-test")],
    "dotplot": [dotplot, dotplot],
}


def work(file: str, step: str, where: str, out: str) -> None:
    """Run one step in this process, and write what it took and what came out."""
    import matplotlib as mpl
    import scanpy as sc

    mpl.use("agg")
    warnings.simplefilter("ignore")
    # from here, so that it is loaded on both sides alike
    from scanpy_oom.engine.runtime import pass_log
    from scanpy_oom.memory.peak import PeakMemory

    figures = []
    with PeakMemory() as memory:
        adata = sc.read_h5ad(file, **({"backed": "oom"} if where == "oom" else {}))
        label(adata)
        sc.pp.normalize_total(adata, target_sum=1e4)
        sc.pp.log1p(adata)
        for call in STEPS[step]:
            before, started = pass_log.totals().passes, time.perf_counter()
            result = call(adata)
            figures.append((time.perf_counter() - started, pass_log.totals().passes - before))
    Path(out).write_bytes(pickle.dumps(result))
    print(json.dumps({"calls": figures, "peak": memory.nbytes}))


def measure(file: str, step: str, where: str) -> tuple[dict[str, Any], Any]:
    """Run one step in a fresh process; return what it took, and what came out."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "result"
        command = [sys.executable, __file__, file, "--work", step, where, str(out)]
        found = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
        return json.loads(found.stdout.splitlines()[-1]), pickle.loads(out.read_bytes())


def compare(memory: dict[str, pd.DataFrame], oom: dict[str, pd.DataFrame]) -> str:
    """Say in how far two results agree."""
    said = []
    for key, expected in memory.items():
        if key == "names":
            said.append(f"{(oom[key] == expected).to_numpy().mean():.6%} of names identical")
        else:
            a, b = (frame.to_numpy(dtype=float) for frame in (expected, oom[key]))
            off = np.abs(a - b) / np.maximum(np.abs(a), 1)
            said.append(f"{key} within {np.nanmax(off):.1e}")
    return ", ".join(said)


def main() -> None:
    """Measure what was asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", help="an .h5ad file with counts in X")
    parser.add_argument("--only", choices=STEPS, help="the one step to run")
    parser.add_argument("--work", nargs=3, metavar=("STEP", "WHERE", "OUT"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.work:
        work(arguments.file, *arguments.work)
        return
    for step in [arguments.only] if arguments.only else STEPS:
        measure(arguments.file, step, "oom")  # compiles the kernels
        results = []
        for where in ("oom", "memory"):
            took, result = measure(arguments.file, step, where)
            results.append(result)
            calls = ", then ".join(f"{seconds:.1f} s in {passes} passes" for seconds, passes in took["calls"])
            print(f"{step:10s} {where:7s} {calls}, {took['peak'] / 1e6:.0f} MB at most", flush=True)
        print(f"{step:10s} {compare(results[1], results[0])}", flush=True)


if __name__ == "__main__":
    main()
