"""CREST's steps, in this process."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path

import anndata as ad
import matplotlib.pyplot as plt
import pytest

from scanpy_oom.bench.atlas import write_atlas
from scanpy_oom.bench.backends.memory import MARKERS
from scanpy_oom.bench.recipe import STEPS, Recipe

pytest.importorskip("crest")

UNTIL_PLOT = STEPS[: STEPS.index("plot") + 1]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("module", ["crest", "crest_disk"])
@pytest.mark.parametrize("has_markers", [True, False])
def test_scanpy_draws_what_it_has_found(tmp_path: Path, module: str, has_markers: bool) -> None:
    file, out = tmp_path / "counts.h5ad", tmp_path / "out"
    write_atlas(file, n_cells=400, n_genes=2600)
    out.mkdir()
    if not has_markers:
        adata = ad.read_h5ad(file)
        adata.var_names = [f"gene{i}" for i in range(adata.n_vars)]
        adata.write_h5ad(file)
    recipe = Recipe(min_genes=1, n_top_genes=200, n_comps=10)
    workflow = import_module(f"scanpy_oom.bench.backends.{module}").Workflow(file, out, recipe, "leiden")
    plt.switch_backend("agg")
    for step in UNTIL_PLOT:
        workflow.step(step)()
    assert sorted(path.name for path in out.glob("*.png")) == ["dotplot.png", "umap.png", "violin.png"]
    names = workflow.frame.var_names
    assert list(workflow.adata.var_names) == ([name for name in names if name in MARKERS] if has_markers else names[:3])
    assert workflow.adata.n_vars > 2
