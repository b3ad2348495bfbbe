"""CyteArc's steps, in this process, beside scanpy's."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import anndata as ad
import matplotlib.pyplot as plt
import numpy as np
import pytest
import scanpy as sc

from scanpy_oom.bench.agreement import canonical_correlation
from scanpy_oom.bench.atlas import write_atlas
from scanpy_oom.bench.backends.memory import MARKERS
from scanpy_oom.bench.recipe import STEPS, Recipe

cytearc = pytest.importorskip("cytearc", reason="cytearc is not installed: it needs Python 3.13")

RECIPE = Recipe(min_genes=100, n_top_genes=200, n_comps=10, flavor="seurat_v3")


def taken(file: Path, out: Path, steps: list[str], groups: str = "leiden", recipe: Recipe = RECIPE) -> Any:
    """A workflow that has taken some steps."""
    from scanpy_oom.bench.backends.cytearc import Workflow

    out.mkdir()
    plt.switch_backend("agg")
    workflow = Workflow(file, out, recipe, groups)
    for step in steps:
        workflow.step(step)()
    return workflow


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("counts") / "counts.h5ad"
    write_atlas(path, n_cells=400, n_genes=2600)
    return path


@pytest.fixture(scope="module")
def workflow(file: Path, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """All steps that it takes."""
    from scanpy_oom.bench.backends.cytearc import Workflow

    steps = [step for step in STEPS if step not in Workflow.left_out]
    return taken(file, tmp_path_factory.mktemp("all") / "out", steps)


@pytest.fixture(scope="module")
def results(workflow: Any) -> dict[str, np.ndarray]:
    workflow.save(".npz")
    with np.load(workflow.out / "result.npz") as found:
        return dict(found)


@pytest.mark.filterwarnings("ignore")
def test_its_cells_values_and_components_are_those_of_scanpy_without_clipping(file: Path, tmp_path: Path) -> None:
    workflow = taken(file, tmp_path / "out", list(STEPS[: STEPS.index("pca") + 1]))
    found = workflow._compared()
    adata = sc.read_h5ad(file)
    adata.var["mt"] = adata.var_names.str.startswith("MT-")
    sc.pp.calculate_qc_metrics(adata, qc_vars=["mt"], percent_top=None, inplace=True)
    obs = adata.obs
    kept = (obs["n_genes_by_counts"] >= RECIPE.min_genes) & (obs["pct_counts_mt"] <= RECIPE.max_mt)
    assert 200 < kept.sum() < adata.n_obs
    assert list(found["cells"]) == list(adata.obs_names[kept])
    adata = adata[kept, found["genes"]].copy()
    adata.X = np.log1p(adata.X.multiply(1e4 / adata.obs["total_counts"].to_numpy()[:, None])).toarray()
    np.testing.assert_allclose(workflow._values("values", "data")[:], adata.X, rtol=1e-5)
    sc.pp.scale(adata)
    sc.pp.pca(adata, n_comps=RECIPE.n_comps)
    assert canonical_correlation(adata.obsm["X_pca"].astype(float), found["pca"].astype(float)) > 0.999999


def test_what_it_has_found_is_kept_for_comparison_and_the_store_is_not(
    workflow: Any, results: dict[str, np.ndarray]
) -> None:
    n = len(results["cells"])
    assert results["pca"].shape == (n, RECIPE.n_comps)
    assert results["umap"].shape == (n, 2)
    assert results["clusters"].shape == (n,)
    assert len(set(results["clusters"])) > 2
    assert len(results["genes"]) == RECIPE.n_top_genes
    assert results["neighbors"].shape == (n, RECIPE.n_neighbors - 1)
    assert not np.any(results["neighbors"] == results["some"][:, None]), "no cell is its own neighbour"
    assert not workflow.folder.exists()


def test_it_draws_and_writes_what_it_has_found(workflow: Any, results: dict[str, np.ndarray]) -> None:
    assert sorted(path.name for path in workflow.out.glob("*.png")) == ["dotplot.png", "umap.png", "violin.png"]
    written = ad.read_h5ad(workflow.out / "written.h5ad")
    assert list(written.obs_names) == list(results["cells"])
    np.testing.assert_array_equal(written.obsm["X_umap"], results["umap"])
    assert list(written.obs["leiden"].astype(str)) == list(results["clusters"])
    assert set(written.obsp) == {"connectivities", "distances"}


def test_groups_of_the_file_are_characterised_as_clusters_are(file: Path, tmp_path: Path) -> None:
    steps = ["read", "qc", "filter", "normalize", "wilcoxon"]
    workflow = taken(file, tmp_path / "out", steps, groups="cell_type")
    table = workflow.store.markers.load(workflow.found["markers"], min_frac_exp=None, min_auc=None, max_p_adj=None)
    first = table.sort_values("auc", ascending=False).groupby("group_id").head(20)
    assert "MS4A1" in set(first.loc[first["group_id"] == "B naive", "feature_name"])


def test_genes_without_names_that_are_known_are_filtered_and_drawn_all_the_same(file: Path, tmp_path: Path) -> None:
    adata = ad.read_h5ad(file)
    adata.var_names = [f"gene{i}" for i in range(adata.n_vars)]
    adata.obs_names = [f"cell{i // 2}" for i in range(adata.n_obs)]  # and cells of one name
    adata.write_h5ad(tmp_path / "nameless.h5ad")
    steps = [step for step in STEPS[: STEPS.index("plot") + 1] if step not in {"t-test", "wilcoxon"}]
    workflow = taken(tmp_path / "nameless.h5ad", tmp_path / "out", steps, recipe=Recipe(n_top_genes=200, n_comps=10))
    assert not set(MARKERS) & set(workflow.store.RNA.feats.fetch_all("names"))
    assert (tmp_path / "out" / "dotplot.png").exists()
    assert workflow.notes()[-1] == "variable genes in its own way: it has no flavor seurat"


def test_a_store_of_an_earlier_benchmark_is_replaced(file: Path, tmp_path: Path) -> None:
    workflow = taken(file, tmp_path / "out", ["read", "qc"])
    again = type(workflow)(file, workflow.out, RECIPE, "leiden")
    again.read()
    again.qc()
    assert again.store.cells.N == 400
    again.save("")
    assert not again.folder.exists()
