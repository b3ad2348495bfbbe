# ruff: noqa: T201
"""Checks of what runs on a GPU against the CPU, and times of both.

``python benchmarks/gpu.py`` makes counts on the spot, runs every function that the GPU covers on both, prints by how
much results differ beside the tolerance, and times quality control to PCA: from the h5ad (gzip), and from the compact
copy that the first pass leaves. ``--device numpy`` runs the GPU's code on the CPU, to check it where there is no GPU.
The exit status is 1 if a check fails.
"""

from __future__ import annotations

import argparse
import datetime as dt
import importlib.util
import sys
import tempfile
import time
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import scanpy as sc
from scipy import sparse

import scanpy_oom
from scanpy_oom.bench.atlas import write_atlas
from scanpy_oom.engine.device.choice import chosen_device
from scanpy_oom.engine.runtime import pass_log

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from anndata import AnnData

SMALL = (6000, 3000)
"""Cells and genes of the checks: enough for PCA to go by the Gram matrix."""


@dataclass(frozen=True)
class Check:
    """A call whose result must be the same on both.

    Parameters
    ----------
    name
        What is shown.
    call
        Takes an AnnData out of memory, and returns numbers.
    rtol
        Relative tolerance, of the largest number; 0 for equality.
    """

    name: str
    call: Callable[[AnnData], Any]
    rtol: float = 0.0


def _qc(adata: AnnData) -> Any:
    adata.var["mt"] = np.arange(adata.n_vars) % 50 == 0
    found = sc.pp.calculate_qc_metrics(adata, qc_vars=["mt"], percent_top=[50, 100], inplace=False)
    return [frame.to_numpy(dtype=float) for frame in found]


def _filtered(adata: AnnData) -> Any:
    sc.pp.filter_cells(adata, min_genes=100)
    sc.pp.filter_genes(adata, min_cells=30)
    return np.array(adata.shape), adata.obs["n_genes"].to_numpy(), adata.var["n_cells"].to_numpy()


def _normalized(adata: AnnData) -> AnnData:
    sc.pp.normalize_total(adata)
    sc.pp.log1p(adata)
    return adata


def _hvg(flavor: str) -> Callable[[AnnData], Any]:
    def call(adata: AnnData) -> Any:
        if flavor == "pearson_residuals":
            sc.experimental.pp.highly_variable_genes(adata, flavor=flavor, n_top_genes=500, batch_key="batch")
            return adata.var["highly_variable"], adata.var["residual_variances"]
        adata = adata if flavor == "seurat_v3" else _normalized(adata)
        sc.pp.highly_variable_genes(adata, flavor=flavor, n_top_genes=500, batch_key="batch")
        score = "variances_norm" if flavor == "seurat_v3" else "dispersions_norm"
        return adata.var["highly_variable"], adata.var[score]

    return call


def _scaled(adata: AnnData) -> Any:
    adata = _normalized(adata)
    sc.pp.scale(adata, max_value=10)
    return adata.var["mean"], adata.var["std"], adata.X.sum(axis=0), adata.X.sum(axis=1)


def _pca(adata: AnnData) -> Any:
    adata = _normalized(adata)[:, :2500].copy()
    sc.pp.scale(adata, max_value=10)
    sc.pp.pca(adata, n_comps=15)
    return np.abs(adata.obsm["X_pca"]), adata.uns["pca"]["variance"]


def _ranked(**arguments: Any) -> Callable[[AnnData], Any]:
    def call(adata: AnnData) -> Any:
        sc.tl.rank_genes_groups(_normalized(adata), "kind", **arguments)
        frames = [sc.get.rank_genes_groups_df(adata, group).set_index("names").sort_index() for group in ("0", "2")]
        return [frame[name].to_numpy() for frame in frames for name in ("scores", "logfoldchanges")]

    return call


def _scored(adata: AnnData) -> Any:
    sc.tl.score_genes(_normalized(adata), list(adata.var_names[5:40]))
    return adata.obs["score"]


def _aggregated(adata: AnnData) -> Any:
    found = sc.get.aggregate(_normalized(adata), "kind", ["sum", "mean", "var", "count_nonzero"])
    return [found.layers[name] for name in ("sum", "mean", "var", "count_nonzero")]


def _regressed(adata: AnnData) -> Any:
    adata.obs["total"] = np.ravel(adata.X.sum(axis=1))
    adata = _normalized(adata)[:, :300].copy()
    sc.pp.regress_out(adata, ["total"])
    return adata.X.sum(axis=0), adata.X.var(axis=0) if hasattr(adata.X, "var") else 0


def _reductions(adata: AnnData) -> Any:
    x, random = _normalized(adata).X, np.random.default_rng(0)
    right, left = random.random((x.shape[1], 5)), random.random((x.shape[0], 5))
    some = [x.sum(axis=0), x.sum(axis=1), x.mean(axis=0), x.max(axis=0), x.min(axis=1), x.sum()]
    return [*some, x @ right, x.T @ left]


CHECKS = [
    Check("calculate_qc_metrics", _qc, 1e-6),
    Check("filter_cells, filter_genes", _filtered),
    Check("highly_variable_genes seurat", _hvg("seurat"), 1e-4),
    Check("highly_variable_genes cell_ranger", _hvg("cell_ranger"), 1e-4),
    Check("highly_variable_genes Pearson", _hvg("pearson_residuals"), 1e-8),
    Check("normalize_total, log1p, scale", _scaled, 1e-5),
    Check("pca", _pca, 1e-4),
    Check("rank_genes_groups t-test", _ranked(method="t-test"), 1e-5),
    Check("rank_genes_groups wilcoxon", _ranked(method="wilcoxon", tie_correct=True), 1e-6),
    Check("rank_genes_groups wilcoxon, reference", _ranked(method="wilcoxon", reference="1"), 1e-6),
    Check("score_genes", _scored, 1e-6),
    Check("aggregate", _aggregated, 1e-6),
    Check("regress_out", _regressed, 1e-4),
    Check("reductions and products of X", _reductions, 1e-5),
]
if importlib.util.find_spec("skmisc") is not None:
    CHECKS.append(Check("highly_variable_genes seurat_v3", _hvg("seurat_v3"), 1e-8))


def numbers(found: Any) -> Iterator[np.ndarray]:
    """Yield all numbers of a result as arrays."""
    if isinstance(found, list | tuple):
        for part in found:
            yield from numbers(part)
        return
    if sparse.issparse(found):
        found = found.toarray()
    yield np.asarray(found, dtype=np.float64).ravel()


def difference(found: Any, want: Any) -> float:
    """Return the largest difference, relative to the largest number of each array; infinite if shapes or NaN differ."""
    worst = 0.0
    for a, b in zip(numbers(found), numbers(want), strict=True):
        if a.shape != b.shape or not np.array_equal(np.isfinite(a), np.isfinite(b)):
            return np.inf
        finite = np.isfinite(b)
        if finite.any():
            worst = max(worst, float(np.abs(a - b)[finite].max() / max(np.abs(b[finite]).max(), 1e-300)))
    return worst


def opened(path: Path) -> AnnData:
    """Open the counts, with a label and a batch of each cell."""
    adata = sc.read_h5ad(path, backed="oom")
    i = np.arange(adata.n_obs)
    adata.obs["kind"] = pd.Categorical((i * 7 % 4).astype(str))
    adata.obs["batch"] = pd.Categorical((i % 2).astype(str))
    return adata


def check(path: Path, device: str) -> bool:
    """Print a table of all checks; return whether all are met."""
    print(f"{'function':40} {'rtol':>8} {'found':>10}       passes on")
    all_met = True
    for one in CHECKS:
        results = []
        for name in ("cpu", device):
            scanpy_oom.settings.device = name
            seen = pass_log.totals()
            results.append(one.call(opened(path)))
        where = _where(seen)
        found = difference(results[1], results[0])
        met = found <= one.rtol
        all_met &= met
        print(f"{one.name:40} {one.rtol:8.0e} {found:10.1e}  {'ok ' if met else 'NO '}  {where}")
    return all_met


def _where(before: pass_log.Totals) -> str:
    earlier = dict(before.by_device)
    counts = {where: n - earlier.get(where, 0) for where, n in pass_log.totals().by_device}
    return ", ".join(f"{where} ({n})" for where, n in counts.items() if n)


def workflow(adata: AnnData) -> None:
    """Run quality control to PCA."""
    adata.var["mt"] = np.arange(adata.n_vars) % 500 == 0
    sc.pp.calculate_qc_metrics(adata, qc_vars=["mt"], percent_top=None, log1p=False, inplace=True)
    sc.pp.filter_cells(adata, min_genes=200)
    sc.pp.filter_genes(adata, min_cells=3)
    sc.pp.normalize_total(adata, target_sum=1e4)
    sc.pp.log1p(adata)
    sc.pp.highly_variable_genes(adata, n_top_genes=min(2000, adata.n_vars // 2))
    kept = adata[:, adata.var["highly_variable"]].copy()
    sc.pp.scale(kept, max_value=10)
    sc.pp.pca(kept, n_comps=50)


def seconds(function: Callable[..., Any], *arguments: Any) -> float:
    """Time a call."""
    started = time.perf_counter()
    function(*arguments)
    return time.perf_counter() - started


def times(path: Path, device: str, threads: int) -> tuple[float, float]:
    """Time the workflow from the file and from its compact copy."""
    scanpy_oom.settings.device, scanpy_oom.settings.n_threads = device, threads
    adata = sc.read_h5ad(path, backed="oom")
    from_file = seconds(workflow, adata.copy())
    fresh = sc.AnnData(adata.X.copy(), obs=adata.obs.copy(), var=adata.var.copy())
    return from_file, seconds(workflow, fresh)


def rapids(path: Path) -> float | None:
    """Time the workflow of rapids-singlecell, from the file, if it is installed."""
    if importlib.util.find_spec("rapids_singlecell") is None:
        return None
    import rapids_singlecell as rsc

    def run() -> None:
        adata = sc.read_h5ad(path)
        rsc.get.anndata_to_GPU(adata)
        adata.var["mt"] = np.arange(adata.n_vars) % 500 == 0
        rsc.pp.calculate_qc_metrics(adata, qc_vars=["mt"])
        rsc.pp.filter_genes(adata, min_cells=3)
        rsc.pp.normalize_total(adata, target_sum=1e4)
        rsc.pp.log1p(adata)
        rsc.pp.highly_variable_genes(adata, n_top_genes=2000)
        adata = adata[:, adata.var["highly_variable"]].copy()
        rsc.pp.scale(adata, max_value=10)
        rsc.pp.pca(adata, n_comps=50)

    return seconds(run)


def memory_of_device() -> str:
    """Say how much of its limit the device has taken, at most."""
    device = chosen_device()
    pool = getattr(device, "_pool", None)
    return "" if pool is None else f"{pool.total_bytes() / 1e9:.2f} GB held in its pool"


def measure(path: Path, device: str, label: str, cells: int, threads: list[int]) -> None:
    """Print a table of times."""
    print(f"\nQC to PCA, {cells:,} cells ({path.stat().st_size / 1e6:,.0f} MB)")
    print(f"{'engine':32} {'from gzip':>10} {'from copy':>10}")
    runs = [(f"CPU, {n} threads", "cpu", n) for n in threads] + [(label, device, threads[-1])]
    for name, where, n in runs:
        from_file, from_stage = times(path, where, n)
        print(f"{name:32} {from_file:8.2f} s {from_stage:8.2f} s", flush=True)
    print(f"{'rapids-singlecell':32} " + ("not installed" if (t := rapids(path)) is None else f"{t:8.2f} s"))
    if held := memory_of_device():
        print(f"{label}: {held}")


def _warm_up(path: Path, device: str, threads: list[int]) -> None:
    """Compile what is compiled once."""
    for name in ("cpu", device):
        times(path, name, threads[-1])


def main(arguments: list[str] | None = None) -> int:
    """Run checks and measurements."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", choices=("cuda", "numpy"), default="cuda")
    parser.add_argument("--cells", type=int, nargs="*", default=[100_000, 1_000_000], help="sizes to time, or none")
    parser.add_argument("--genes", type=int, default=30_000)
    parser.add_argument("--threads", type=int, nargs="+", default=None, help="of the CPU engine (default: 2, all)")
    parser.add_argument("--folder", type=Path, default=None, help="where files are made (default: a temporary one)")
    parser.add_argument("--memory-limit", default=None)
    given = parser.parse_args(arguments)
    warnings.simplefilter("ignore")
    if given.memory_limit:
        scanpy_oom.settings.memory_limit = given.memory_limit
    scanpy_oom.settings.device = given.device
    device = chosen_device()
    threads = given.threads or sorted({2, scanpy_oom.settings.n_threads})
    print(f"{device.title}, {dt.datetime.now(tz=dt.UTC):%Y-%m-%d}, Python {sys.version.split()[0]}")
    with tempfile.TemporaryDirectory(dir=given.folder) as folder:
        small = Path(folder) / "small.h5ad"
        write_atlas(small, n_cells=SMALL[0], n_genes=SMALL[1])
        met = check(small, given.device)
        print("all checks are met" if met else "SOME CHECKS ARE NOT MET", flush=True)
        if given.cells:
            _warm_up(small, given.device, threads)
        for cells in given.cells:
            path = Path(folder) / "atlas.h5ad"
            write_atlas(path, n_cells=cells, n_genes=given.genes)
            measure(path, given.device, device.title, cells, threads)
            path.unlink()
    return 0 if met else 1


if __name__ == "__main__":
    sys.exit(main())
