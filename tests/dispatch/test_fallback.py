from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import anndata as ad
import numpy as np
import pandas as pd
import pytest
import scanpy as sc
from scipy import sparse

from scanpy_oom import MemoryBudgetExceeded, OOMMatrix, Override, settings
from scanpy_oom.dispatch.patching.patch import patch, unpatch
from scanpy_oom.engine import budget

from ..versions import before_1_13

Snapshot = Callable[[ad.AnnData], dict[str, object]]


def dense(matrix: Any) -> np.ndarray:
    matrix = matrix.to_memory() if isinstance(matrix, OOMMatrix) else matrix
    return matrix.toarray() if sparse.issparse(matrix) else np.asarray(matrix)


def assert_same(a: ad.AnnData, b: ad.AnnData) -> None:
    """Equal in all but where the matrices are."""
    assert a.shape == b.shape
    pd.testing.assert_frame_equal(a.obs, b.obs)
    pd.testing.assert_frame_equal(a.var, b.var)
    assert a.uns.keys() == b.uns.keys()
    for name in ("obsm", "varm", "obsp", "varp"):
        assert getattr(a, name).keys() == getattr(b, name).keys()
    np.testing.assert_array_equal(dense(a.X), dense(b.X))
    assert a.layers.keys() == b.layers.keys()
    for name in a.layers:
        np.testing.assert_array_equal(dense(a.layers[name]), dense(b.layers[name]))
    assert (a.raw is None) == (b.raw is None)
    if a.raw is not None:
        np.testing.assert_array_equal(dense(a.raw.X), dense(b.raw.X))
        pd.testing.assert_frame_equal(a.raw.var, b.raw.var)


CALLS = {
    "sets X": lambda a: sc.pp.sqrt(a),
    "changes X in place": lambda a: sc.pp.log1p(a),
    "makes X dense": lambda a: sc.pp.scale(a),
    "sets a layer": lambda a: sc.pp.log1p(a, layer="counts"),
    "sets X and layers": lambda a: (sc.pp.log1p(a), sc.pp.log1p(a, layer="counts"))[1],
    "sets obs": lambda a: sc.tl.score_genes(a, ["gene1", "gene2"], use_raw=False),
    "sets obs from raw": lambda a: sc.tl.score_genes(a, ["gene1", "gene59"]),
    "sets obsm, varm, uns": lambda a: sc.pp.pca(a, n_comps=3),
    "sets uns": lambda a: sc.tl.rank_genes_groups(a, "kind", use_raw=False),
    "drops rows": lambda a: sc.pp.filter_cells(a, min_genes=25),
    "drops columns": lambda a: sc.pp.filter_genes(a, min_cells=20),
    "returns an array": lambda a: sc.pp.combat(a, "kind", inplace=False),
    "returns frames": lambda a: sc.pp.calculate_qc_metrics(a, percent_top=None),
    "returns another AnnData": lambda a: sc.get.aggregate(a, "kind", "sum"),
    "returns a copy": lambda a: sc.pp.sqrt(a, copy=True),
    "returns a copy with X as it was": lambda a: sc.tl.score_genes(a, ["gene1"], use_raw=False, copy=True),
}


@pytest.mark.usefixtures("no_overrides")
@pytest.mark.parametrize("case", CALLS)
def test_a_materialised_call_does_what_it_does_in_memory(case: str, oom: ad.AnnData, memory: ad.AnnData) -> None:
    found, expected = CALLS[case](oom), CALLS[case](memory)
    assert_same(oom, memory)
    assert type(found) is type(expected)
    if isinstance(found, ad.AnnData):
        assert_same(found, expected)
    elif isinstance(found, tuple):
        for ours, scanpys in zip(found, expected, strict=True):
            pd.testing.assert_frame_equal(ours, scanpys)
    elif found is not None:
        np.testing.assert_array_equal(found, expected)


@pytest.mark.usefixtures("no_overrides")
def test_matrices_that_were_not_changed_stay_on_disk(oom: ad.AnnData, snapshot: Snapshot) -> None:
    before = snapshot(oom)["matrices"]
    sc.tl.score_genes(oom, ["gene1", "gene2"], use_raw=False)
    sc.tl.score_genes(oom, ["gene1", "gene2"], use_raw=True)
    sc.get.aggregate(oom, "kind", "sum", layer="counts")
    assert snapshot(oom)["matrices"] == before


@pytest.mark.parametrize("kind", ["csr", "csc"])
def test_matrices_from_which_scanpy_removes_stored_zeros_stay_on_disk(kind: str, tmp_path: Path) -> None:
    x = sparse.random(30, 8, 0.4, "csr", np.float32, rng=0)
    x.data[::4] = 0
    adata = ad.AnnData(x.asformat(kind))
    adata.obs["kind"] = pd.Categorical(["a", "b"] * 15)
    adata.write_h5ad(tmp_path / "a.h5ad")
    lazy = sc.read_h5ad(tmp_path / "a.h5ad", backed="oom")
    before = lazy.X._state
    sc.tl.rank_genes_groups(lazy, "kind", method="logreg")
    assert lazy.X._state is before


@pytest.mark.usefixtures("no_overrides")
def test_only_what_a_call_uses_is_brought_into_memory(oom: ad.AnnData) -> None:
    raw, counts = oom.raw.X, oom.layers["counts"]
    sc.pp.sqrt(oom)
    assert sparse.issparse(oom.X)
    assert oom.raw.X is raw
    assert oom.layers["counts"] is counts
    assert isinstance(raw, OOMMatrix)


@before_1_13
@pytest.mark.usefixtures("no_overrides")
def test_one_matrix_in_two_places_is_changed_in_both_as_in_memory(oom: ad.AnnData, memory: ad.AnnData) -> None:
    oom.layers["same"] = oom.X
    memory.layers["same"] = memory.X
    for adata in (oom, memory):
        sc.pp.normalize_per_cell(adata, layers=["same"])
        sc.pp.log1p(adata)
    assert_same(oom, memory)


@pytest.mark.usefixtures("no_overrides")
def test_rows_that_a_call_drops_are_dropped_from_what_stays_on_disk(oom: ad.AnnData) -> None:
    sc.pp.filter_cells(oom, min_genes=25)
    assert oom.n_obs < 90
    assert isinstance(oom.layers["counts"], OOMMatrix)
    assert isinstance(oom.raw.X, OOMMatrix)
    assert oom.layers["counts"].shape == oom.shape


@pytest.mark.usefixtures("no_overrides")
def test_a_copy_keeps_on_disk_what_was_not_changed(oom: ad.AnnData) -> None:
    copy = sc.tl.score_genes(oom, ["gene1", "gene2"], use_raw=False, copy=True)
    assert copy.X._state is oom.X._state
    assert "score" in copy.obs
    assert "score" not in oom.obs


@pytest.mark.usefixtures("no_overrides")
def test_annotations_are_changed_where_users_hold_them(oom: ad.AnnData) -> None:
    obs, uns, obsm = oom.obs, oom.uns, oom.obsm["X_pca"]
    sc.tl.score_genes(oom, ["gene1", "gene2"], use_raw=False)
    assert oom.obs is obs
    assert oom.uns is uns
    assert oom.obsm["X_pca"] is obsm


def break_down(adata: ad.AnnData, *, error: type[BaseException]) -> None:
    """Changes all that it can, and fails."""
    adata.obs["depth"] += 1
    adata.obs["new"] = 0
    adata.var["new"] = 0
    adata.uns["new"] = 0
    adata.obsm["X_pca"][:] = 0
    adata.X.data[:] = 0
    adata.layers["counts"] = adata.X
    adata._inplace_subset_obs(np.arange(3))
    raise error


@pytest.fixture
def failing() -> Iterator[Callable[..., None]]:
    """`break_down`, as if it were `sc.pp.sqrt`."""
    unpatch()
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr(sc.pp, "sqrt", break_down)
        patch([Override("pp.sqrt")])
        yield sc.pp.sqrt
        unpatch()
    patch()


@pytest.mark.parametrize("error", [ValueError, MemoryError, KeyboardInterrupt])
def test_a_call_that_fails_leaves_the_anndata_as_it_was(
    oom: ad.AnnData, failing: Callable[..., None], error: type[BaseException], snapshot: Snapshot
) -> None:
    before = snapshot(oom)
    with pytest.raises(error):
        failing(oom, error=error)
    assert snapshot(oom) == before


def test_a_call_that_fails_leaves_a_view_a_view(
    oom: ad.AnnData, failing: Callable[..., None], snapshot: Snapshot
) -> None:
    view, before = oom[:20], snapshot(oom)
    with pytest.raises(ZeroDivisionError):
        failing(view, error=ZeroDivisionError)
    assert view.is_view
    assert view.n_obs == 20
    assert snapshot(oom) == before


@pytest.mark.usefixtures("no_overrides")
@pytest.mark.parametrize("case", ["changes X in place", "sets X", "sets obs", "drops rows", "sets obsm, varm, uns"])
def test_a_view_that_is_written_to_becomes_an_anndata_of_its_own(
    case: str, oom: ad.AnnData, memory: ad.AnnData, snapshot: Snapshot
) -> None:
    before = snapshot(oom)
    on_disk, in_memory = oom[5:65, :50], memory[5:65, :50].copy()
    CALLS[case](on_disk)
    CALLS[case](in_memory)
    assert not on_disk.is_view
    assert_same(on_disk, in_memory)
    assert snapshot(oom) == before


@pytest.mark.usefixtures("no_overrides")
def test_a_view_that_is_only_read_stays_one(oom: ad.AnnData) -> None:
    view = oom[5:65, ::2]
    result = sc.get.aggregate(view, "kind", "sum")
    assert view.is_view
    assert isinstance(view.X, OOMMatrix)
    np.testing.assert_array_equal(
        dense(result.layers["sum"]), dense(sc.get.aggregate(view.to_memory(), "kind", "sum").layers["sum"])
    )


@pytest.mark.usefixtures("no_overrides")
def test_a_view_that_becomes_actual_keeps_on_disk_what_was_not_changed(oom: ad.AnnData) -> None:
    view = oom[5:65]
    sc.tl.score_genes(view, ["gene1", "gene2"], use_raw=False)
    assert not view.is_view
    assert isinstance(view.X, OOMMatrix)
    assert isinstance(view.layers["counts"], OOMMatrix)


@pytest.mark.usefixtures("no_overrides")
def test_a_bare_matrix_changes_in_place_where_it_does_in_memory(oom: ad.AnnData) -> None:
    before, mine = dense(oom.X), oom.X
    np.testing.assert_array_equal(dense(sc.pp.log1p(oom.X, copy=True)), np.log1p(before))
    np.testing.assert_array_equal(dense(mine), before)
    sc.pp.log1p(oom.X)
    assert oom.X is mine
    np.testing.assert_array_equal(dense(mine), np.log1p(before))


@pytest.fixture
def log() -> Iterator[io.StringIO]:
    """What scanpy logs."""
    before = sc.settings.logfile
    sc.settings.logfile = io.StringIO()
    yield sc.settings.logfile
    sc.settings.logfile = before


@pytest.mark.usefixtures("no_overrides")
def test_it_is_said_once_for_each_function(oom: ad.AnnData, log: io.StringIO) -> None:
    for _ in range(2):
        sc.tl.score_genes(oom, ["gene1", "gene2"], use_raw=False)
    sc.get.aggregate(oom, "kind", "sum", layer="counts")
    said = log.getvalue()
    assert said.count("sc.tl.score_genes brings adata.X into memory (") == 1
    assert said.count("sc.get.aggregate brings adata.layers['counts'] into memory (") == 1
    assert said.count("there is no out-of-memory version of it yet") == 2


@pytest.mark.usefixtures("no_overrides")
def test_what_would_not_fit_is_refused_before_anything_happens(
    oom: ad.AnnData, snapshot: Snapshot, monkeypatch: pytest.MonkeyPatch
) -> None:
    for what in ("LIBRARIES", "SMALLEST_BLOCK"):  # next to which these matrices are nothing
        monkeypatch.setattr(budget, what, 0)
    monkeypatch.setattr(settings, "memory_limit", oom.X.nbytes_in_memory * 1.5)
    before = snapshot(oom)
    sc.tl.score_genes(oom, ["gene1"], use_raw=False, score_name="fits")
    del oom.obs["fits"]
    monkeypatch.setattr(settings, "memory_limit", oom.X.nbytes_in_memory * 0.5)
    with pytest.raises(MemoryBudgetExceeded) as caught:
        sc.tl.score_genes(oom, ["gene1"], use_raw=False)
    for part in (
        "sc.tl.score_genes",
        "adata.X in memory",
        "there is no out-of-memory version of it yet",
        "fewer cells or genes",
        "scanpy_oom.settings.memory_limit = ",
    ):
        assert part in str(caught.value)
    assert snapshot(oom) == before


def test_neighbors_of_x_that_would_not_fit_are_refused_with_the_way_out(
    oom: ad.AnnData, snapshot: Snapshot, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = snapshot(oom)
    monkeypatch.setattr(settings, "_memory_limit", oom.X.nbytes_in_memory // 2)
    for arguments in ({"use_rep": "X"}, {"n_pcs": 0}):
        with pytest.raises(MemoryBudgetExceeded, match=r"all genes of cells in any order.* Run `sc.pp.pca` first"):
            sc.pp.neighbors(oom, **arguments)
        explained = oom.oom.explain("neighbors", **arguments)
        assert explained.how == "refused"
        assert "Run `sc.pp.pca` first" in str(explained)
    assert snapshot(oom) == before
    sc.pp.neighbors(oom, n_neighbors=5, use_rep="X_pca")


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    "arguments", [{"use_rep": "X"}, {"n_pcs": 0, "metric": "cosine"}, {"use_rep": "X", "method": "gauss"}]
)
def test_neighbors_of_x_are_scanpy_s(oom: ad.AnnData, memory: ad.AnnData, arguments: dict) -> None:
    for adata in (oom, memory):
        sc.pp.neighbors(adata, n_neighbors=6, **arguments)
        del adata.raw
    assert isinstance(oom.X, OOMMatrix)
    assert_same(oom, memory)


@pytest.mark.filterwarnings("ignore")
def test_neighbors_of_few_genes_are_scanpy_s(oom: ad.AnnData, memory: ad.AnnData) -> None:
    few = [adata[:, :20].copy() for adata in (oom, memory)]
    for adata in few:
        sc.pp.neighbors(adata, n_neighbors=6)
    assert isinstance(few[0].X, OOMMatrix)
    assert_same(*few)
