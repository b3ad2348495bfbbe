"""Memory, passes and bytes of the usual workflow, held against a baseline.

``python benchmarks/memory.py`` makes a matrix, runs the workflow on it in fresh processes, prints what each step took
beside the baseline, and fails if one took more. ``--update`` writes the baseline anew.

Passes and bytes read do not vary, and may not grow at all: the most of the runs counts. Peak memory varies from run
to run, as threads happen to meet. Of ten runs the most was above the least by 1 to 6 per cent, which is up to 11 MB,
and by 15 per cent in the Wilcoxon test and 36 in writing, where more or fewer buffers wait. So the least of the runs
counts, and it may grow by 10 MB or a tenth, whichever is more, in these two by a fifth and by three tenths. What
grows by less in one change, and again in the next, is seen in the history of the baseline.
"""

from __future__ import annotations

import argparse
import json
import os
import runpy
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

BASELINE = Path(__file__).parent / "baselines" / "memory.json"
N_CELLS, N_GENES = 20_000, 20_000
LIMIT, N_THREADS = "1GB", 2
RUNS = 3
SLACK, SHARE = 10_000_000, 0.1
SHARES = {"wilcoxon": 0.2, "write": 0.3}

Steps = dict[str, dict[str, int]]


def take_steps(file: Path) -> Steps:
    """Run the workflow in this process; return memory above imports, passes and bytes read of each step."""
    import scanpy as sc  # here, so that only the measured process has it in memory

    from scanpy_oom.engine.runtime import pass_log
    from scanpy_oom.memory.peak import PeakMemory
    from scanpy_oom.memory.rss import resident_memory

    found: Steps = {}
    adata: Any = None

    def read() -> None:
        nonlocal adata
        adata = sc.read_h5ad(file, backed="oom")

    def quality() -> None:
        adata.var["mt"] = adata.var_names.str.startswith("MT-")
        sc.pp.calculate_qc_metrics(adata, qc_vars=["mt"], percent_top=None, log1p=False, inplace=True)

    def keep() -> None:
        sc.pp.filter_cells(adata, min_genes=200)
        sc.pp.filter_genes(adata, min_cells=3)

    def normalize() -> None:
        sc.pp.normalize_total(adata, target_sum=1e4)
        sc.pp.log1p(adata)

    def subset() -> None:
        nonlocal adata
        adata.raw = adata
        adata = adata[:, adata.var["highly_variable"]].copy()

    steps = {
        "read": read,
        "qc": quality,
        "filter": keep,
        "normalize": normalize,
        "hvg": lambda: sc.pp.highly_variable_genes(adata, n_top_genes=2000),
        "subset": subset,
        "scale": lambda: sc.pp.scale(adata, max_value=10),
        "pca": lambda: sc.pp.pca(adata, n_comps=50),
        "t-test": lambda: sc.tl.rank_genes_groups(adata, "cell_type", method="t-test"),
        "wilcoxon": lambda: sc.tl.rank_genes_groups(adata, "cell_type", method="wilcoxon"),
        "write": lambda: adata.write_h5ad(file.with_name("written.h5ad"), compression="gzip"),
    }
    imported = resident_memory()
    for name, step in steps.items():
        before = pass_log.totals()
        with PeakMemory() as memory:
            step()
        after = pass_log.totals()
        found[name] = {
            "peak": memory.most - imported,
            "passes": after.passes - before.passes,
            "bytes_read": after.bytes_read - before.bytes_read,
        }
    return found


def measure(cells: int, genes: int, runs: int, prelude: Path | None) -> Steps:
    """Run the workflow in `runs` fresh processes; return the least memory of each step, the most passes and bytes."""
    from scanpy_oom.bench.atlas import write_atlas

    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "counts.h5ad"
        write_atlas(file, n_cells=cells, n_genes=genes)
        environment = {**os.environ, "SCANPY_OOM_MEMORY_LIMIT": LIMIT, "SCANPY_OOM_THREADS": str(N_THREADS)}
        command = [sys.executable, __file__, "--take-steps", str(file)]
        command += [] if prelude is None else ["--prelude", str(prelude)]
        # the first compiles kernels, which takes memory of its own
        found = [_output(command, environment) for _ in range(runs + 1)][1:]
    of = {"peak": min, "passes": max, "bytes_read": max}
    return {step: {what: of[what](run[step][what] for run in found) for what in found[0][step]} for step in found[0]}


def _output(command: list[str], environment: dict[str, str]) -> Steps:
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, check=True)
    steps: Steps = json.loads(done.stdout.splitlines()[-1])
    return steps


def growth(before: Steps, after: Steps) -> list[str]:
    """Say what has grown beyond what is allowed."""
    found = [f"{step}: it is no longer measured." for step in before if step not in after]
    for step, now in after.items():
        then = before.get(step, {"peak": 0, "passes": 0, "bytes_read": 0})
        if now["peak"] > then["peak"] + max(SLACK, SHARES.get(step, SHARE) * then["peak"]):
            found.append(f"{step}: {then['peak'] / 1e6:.0f} MB of memory have become {now['peak'] / 1e6:.0f} MB.")
        if now["passes"] > then["passes"]:
            found.append(f"{step}: {then['passes']} passes have become {now['passes']}.")
        if now["bytes_read"] > then["bytes_read"]:
            found.append(f"{step}: {then['bytes_read']:,} bytes read have become {now['bytes_read']:,}.")
    return found


def table(before: Steps, after: Steps) -> str:
    """Write what was and what is, a line a step."""
    from scanpy_oom.tables import text_table

    rows = [["step", "peak memory, MB", "", "passes", "", "bytes read", ""]]
    for step, now in after.items():
        then = before.get(step)
        row = [step]
        for what, unit in (("peak", 1e6), ("passes", 1), ("bytes_read", 1)):
            row += ["-" if then is None else f"{then[what] / unit:,.0f}", f"-> {now[what] / unit:,.0f}"]
        rows.append(row)
    return "\n".join(text_table(rows, left=(0, 2, 4, 6)))


def main() -> int:
    """Run as the command line says; return 1 if something has grown."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--update", action="store_true", help="write the baseline anew")
    parser.add_argument("--baseline", type=Path, default=BASELINE, help="the file with the baseline (%(default)s)")
    parser.add_argument("--cells", type=int, default=N_CELLS, help="cells of the matrix (%(default)s)")
    parser.add_argument("--genes", type=int, default=N_GENES, help="genes of the matrix (%(default)s)")
    parser.add_argument(
        "--runs", type=int, default=RUNS, help="fresh processes, of which the least counts (%(default)s)"
    )
    parser.add_argument("--prelude", type=Path, help="a script that every measured process runs first")
    parser.add_argument("--take-steps", type=Path, metavar="FILE", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.take_steps:
        if args.prelude:
            runpy.run_path(str(args.prelude))
        sys.stdout.write(json.dumps(take_steps(args.take_steps)) + "\n")
        return 0
    kept = args.baseline.resolve() == BASELINE.resolve()
    if args.update and kept and (args.prelude or (args.cells, args.genes) != (N_CELLS, N_GENES)):
        parser.error("the repository's baseline is of its own size, without a prelude: name another with --baseline")
    if not args.update and not args.baseline.exists():
        parser.error(f"there is no {args.baseline}: make it with --update")
    if args.runs < 1 or args.cells < 1000 or args.genes < 2500:
        parser.error("at least one run, of 1,000 cells and 2,500 genes, for 2,000 are chosen among them")
    size = {"cells": args.cells, "genes": args.genes, "memory_limit": LIMIT, "threads": N_THREADS}
    baseline = None if args.update else json.loads(args.baseline.read_text())
    if baseline is not None and baseline["size"] != size:
        sys.stderr.write(f"{args.baseline} is of {baseline['size']}, and this is {size}.\n")
        return 2
    found = measure(args.cells, args.genes, args.runs, args.prelude)
    if baseline is None:
        args.baseline.write_text(json.dumps({"size": size, "steps": found}, indent=2) + "\n")
        sys.stdout.write(table({}, found) + "\n")
        return 0
    sys.stdout.write(table(baseline["steps"], found) + "\n")
    grown = growth(baseline["steps"], found)
    sys.stderr.write("".join(line + "\n" for line in grown))
    return 1 if grown else 0


if __name__ == "__main__":
    sys.exit(main())
