from __future__ import annotations

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import anndata as ad
import numpy as np
import pandas as pd
import pytest

from scanpy_oom.demo.compare import compare_results

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.slow

RUNS = {
    "memory": lambda example, file: [example, file],
    "argument": lambda example, file: [example, file, "--backed", "oom"],
    "unchanged": lambda example, file: ["-m", "scanpy_oom", example, file],
}


@pytest.fixture(scope="module")
def results(root: Path, pbmc3k: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The example's folders of results: in memory, with `backed="oom"`, and through `python -m scanpy_oom`."""
    folder = tmp_path_factory.mktemp("example")

    def run(name: str) -> Path:
        out = folder / name
        arguments = [*RUNS[name](root / "examples" / "pbmc3k.py", pbmc3k), "--out", out]
        done = subprocess.run(
            [sys.executable, *map(str, arguments)], capture_output=True, text=True, check=False, cwd=folder
        )
        assert done.returncode == 0, done.stderr
        assert "deprecat" not in done.stderr.lower()
        return out

    with ThreadPoolExecutor(2) as pool:
        return dict(zip(RUNS, pool.map(run, RUNS), strict=True))


@pytest.mark.slow
@pytest.mark.parametrize("run", ["argument", "unchanged"])
def test_results_are_those_in_memory(results: dict[str, Path], run: str) -> None:
    checks = compare_results(results["memory"] / "result.h5ad", results[run] / "result.h5ad", "leiden")
    assert len(checks) == 7
    assert [check for check in checks if not check.agrees] == []


def test_quality_control_leaves_the_cells_of_the_tutorial(results: dict[str, Path]) -> None:
    adata = ad.read_h5ad(results["argument"] / "result.h5ad")
    assert adata.shape == (2638, 2000)


def test_marker_genes_are_those_in_memory(results: dict[str, Path]) -> None:
    memory, oom = (pd.read_csv(results[run] / "markers.csv") for run in ("memory", "argument"))
    assert list(memory.columns) == list(oom.columns)
    clusters = [ad.read_h5ad(results[run] / "result.h5ad").obs["leiden"] for run in ("memory", "argument")]
    if clusters[0].equals(clusters[1]):  # not a cell has moved: then the statistics are the same, too
        top = [frame.groupby("group").head(20).set_index(["group", "names"])["scores"] for frame in (memory, oom)]
        both = top[0].index.intersection(top[1].index)
        assert len(both) >= 0.98 * len(top[0])
        np.testing.assert_allclose(top[0][both], top[1][both], rtol=1e-3)


@pytest.mark.parametrize("run", list(RUNS))
@pytest.mark.parametrize("name", ["umap.png", "violin.png", "dotplot.png"])
def test_plots_are_drawn(results: dict[str, Path], run: str, name: str) -> None:
    assert (results[run] / name).stat().st_size > 10_000
