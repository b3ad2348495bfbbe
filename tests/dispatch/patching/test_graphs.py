"""Graphs built from arrays are scanpy's, and so are the clusters found in them."""

from __future__ import annotations

import random
import subprocess
import sys
import warnings
from contextlib import ExitStack
from importlib.metadata import version
from pathlib import Path

import anndata as ad
import igraph
import numpy as np
import pytest
import scanpy as sc
from scipy import sparse

import scanpy_oom
from scanpy_oom import _scanpy
from scanpy_oom._scanpy import SCANPY_1_12, SCANPY_1_13
from scanpy_oom.dispatch.patching import graphs, patch
from scanpy_oom.memory.ledger import ACCOUNTANT

SEED = "rng" if SCANPY_1_13 else "random_state"


def wrapped():
    """The function that builds graphs, and scanpy's own."""
    function = _scanpy.graph_from_adjacency
    return function, function.__wrapped__


def contents(graph):
    weights = graph.es["weight"] if "weight" in graph.es.attributes() else None
    return graph.vcount(), graph.is_directed(), graph.get_edgelist(), weights


def weights(n=60, *, density=0.1, dtype="float32", seed=0):
    found = sparse.random(n, n, density, format="csr", dtype=dtype, rng=np.random.default_rng(seed))
    return found + found.T


def _asymmetric():
    return sparse.random(60, 60, 0.1, format="csr", dtype="float32", rng=np.random.default_rng(1))


def _with_zeros():
    found = weights()
    found.data[::5] = 0
    return found


def _unsorted():
    found = weights()
    found.indices[: found.indptr[1]] = found.indices[: found.indptr[1]][::-1].copy()
    found.has_sorted_indices = False
    return found


def _repeated():
    columns = np.array([1, 1, 0, 2])
    return sparse.csr_matrix((np.array([1.0, 2.0, 3.0, 4.0]), columns, np.array([0, 2, 3, 4])), shape=(3, 3))


def _without_rows():
    found = weights().tolil()
    found[10:20], found[:, 10:20] = 0, 0
    return found.tocsr()


MATRICES = {
    "symmetric": weights,
    "float64": lambda: weights(dtype="float64"),
    "integers": lambda: sparse.csr_matrix((weights() > 0).astype("int64")),
    "boolean": lambda: sparse.csr_matrix(weights() > 0.5),
    "sparse array": lambda: sparse.csr_array(weights()),
    "CSC": lambda: weights().tocsc(),
    "dense": lambda: weights().toarray(),
    "negative": lambda: -weights(),
    "loops": lambda: weights() + sparse.identity(60, dtype="float32", format="csr"),
    "asymmetric": _asymmetric,
    "stored zeros": _with_zeros,
    "unsorted": _unsorted,
    "repeated": _repeated,
    "cells without neighbors": _without_rows,
    "several blocks": lambda: weights(300, density=0.5),
}


@pytest.fixture
def small_blocks(monkeypatch):
    monkeypatch.setattr(graphs, "_BLOCK", 1000)


@pytest.mark.parametrize("directed", [False, True])
@pytest.mark.parametrize("matrix", MATRICES.values(), ids=MATRICES)
def test_a_graph_is_scanpys(matrix, directed, small_blocks):
    ours, theirs = (build(matrix(), directed=directed) for build in wrapped())
    assert contents(ours) == contents(theirs)
    assert type(ours) is igraph.Graph
    kinds = [{type(value) for value in graph.es["weight"]} for graph in (ours, theirs)]
    assert kinds[0] == kinds[1]


@pytest.mark.skipif(not SCANPY_1_13, reason="presets of scanpy 1.13")
@pytest.mark.parametrize("directed", [False, True])
@pytest.mark.parametrize("matrix", [m for k, m in MATRICES.items() if k != "boolean"])
def test_a_graph_is_scanpys_with_its_second_preset(matrix, directed, small_blocks):
    try:
        preset = sc.settings.override(preset=sc.Preset.ScanpyV2Preview)
        preset.__enter__()
    except ImportError as error:
        pytest.skip(f"the second preset needs other packages: {error}")
    with ExitStack() as stack:
        stack.push(preset)
        ours, theirs = (build(matrix(), directed=directed) for build in wrapped())
    assert contents(ours) == contents(theirs)


@pytest.mark.parametrize("directed", [False, True])
def test_a_matrix_without_edges_is_left_to_scanpy(directed):
    empty = sparse.csr_matrix((4, 4), dtype="float32")
    function, own = wrapped()
    if not SCANPY_1_12:
        with pytest.raises(Exception) as want:  # noqa: PT011 - as scanpy does, whatever it is
            own(empty, directed=directed)
        with pytest.raises(want.type):
            function(empty, directed=directed)
    else:
        assert contents(function(empty, directed=directed)) == contents(own(empty, directed=directed))


def test_arguments_that_are_not_understood_are_scanpys_to_refuse():
    function, own = wrapped()
    for build in (function, own):
        with pytest.raises(TypeError):
            build(weights(), directed=True, no_such=1)


# -- clusters


@pytest.fixture(scope="module")
def cells():
    """A graph of clusters that are hard to tell apart, so that the seed matters."""
    rng = np.random.default_rng(0)
    adata = ad.AnnData(rng.normal(size=(400, 8)).astype("float32"))
    adata.obs["kind"] = rng.choice(["a", "b", "c"], adata.n_obs)
    adata.obs["kind"] = adata.obs["kind"].astype("category")
    sc.pp.neighbors(adata, n_neighbors=10, use_rep="X", random_state=0)
    sc.pp.neighbors(adata, n_neighbors=5, use_rep="X", random_state=0, key_added="few")
    return adata


IGRAPH = {"flavor": "igraph", "n_iterations": 2, "directed": False}
LEIDENALG = {"flavor": "leidenalg", "n_iterations": 2}


def own_partition(**kwargs):
    import leidenalg

    class Asking(leidenalg.RBConfigurationVertexPartition):
        """A kind of partition that asks its graph for more than scanpy does."""

        def __init__(self, graph, **kwargs):
            assert sum(edge["weight"] for edge in graph.es) > 0
            assert len(graph.strength(weights="weight")) == graph.vcount()
            super().__init__(graph, **kwargs)

    return {**LEIDENALG, "partition_type": Asking, **kwargs}


def partition(name):
    import leidenalg

    return {**LEIDENALG, "partition_type": getattr(leidenalg, name)}


CALLS = {
    **{f"igraph, seed {seed}": lambda seed=seed: {**IGRAPH, SEED: seed} for seed in range(5)},
    **{f"leidenalg, seed {seed}": lambda seed=seed: {**LEIDENALG, SEED: seed} for seed in range(5)},
    "igraph, no weights": lambda: {**IGRAPH, "use_weights": False},
    "igraph, weights by name": lambda: {**IGRAPH, "use_weights": False, "weights": "weight"},
    "igraph, resolution": lambda: {**IGRAPH, "resolution": 1.7},
    "igraph, CPM": lambda: {**IGRAPH, "resolution": 0.05, "objective_function": "CPM"},
    "igraph, beta": lambda: {**IGRAPH, "beta": 0.1},
    "igraph, start": lambda: {**IGRAPH, "initial_membership": list(np.arange(400) % 7)},
    "igraph, restricted": lambda: {**IGRAPH, "restrict_to": ("kind", ["a", "b"])},
    "igraph, key": lambda: {**IGRAPH, "key_added": "clusters"},
    "igraph, other neighbors": lambda: {**IGRAPH, "neighbors_key": "few"},
    "igraph, obsp": lambda: {**IGRAPH, "obsp": "few_connectivities"},
    "igraph, distances": lambda: {**IGRAPH, "obsp": "distances"},
    "igraph, to the end": lambda: {**IGRAPH, "n_iterations": 10},
    "leidenalg, undirected": lambda: {**LEIDENALG, "directed": False},
    "leidenalg, no weights": lambda: {**LEIDENALG, "use_weights": False},
    "leidenalg, weights by name": lambda: {**LEIDENALG, "use_weights": False, "weights": "weight"},
    "leidenalg, resolution": lambda: {**LEIDENALG, "resolution": 2},
    "leidenalg, restricted": lambda: {**LEIDENALG, "restrict_to": ("kind", ["a", "b"]), "key_added": "leiden"},
    "leidenalg, obsp": lambda: {**LEIDENALG, "obsp": "few_connectivities"},
    "leidenalg, modularity": lambda: {**partition("ModularityVertexPartition"), "resolution": None},
    "leidenalg, CPM": lambda: {**partition("CPMVertexPartition"), "resolution": 0.05},
    "leidenalg, a kind of the user's": own_partition,
}


def both(adata, call):
    """Run a call with this package and without it, on copies."""
    found = []
    for switch in (scanpy_oom.enable, scanpy_oom.disable):
        switch()
        copy = adata.copy()
        random.seed(0)
        np.random.seed(0)
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            result = call(copy)
        told = [(warning.category, str(warning.message)) for warning in caught]
        found.append((copy, result, told))
    scanpy_oom.enable()
    return found


def assert_alike(ours, theirs):
    assert list(ours.obs) == list(theirs.obs)
    for key in ours.obs:
        assert ours.obs[key].equals(theirs.obs[key]), key
    assert ours.uns.keys() == theirs.uns.keys()
    for key in ours.uns.keys() - {"neighbors", "few"}:
        assert ours.uns[key] == theirs.uns[key]


@pytest.mark.parametrize("arguments", CALLS.values(), ids=CALLS)
def test_clusters_are_scanpys(cells, arguments):
    arguments = arguments()
    ours, theirs = both(cells, lambda adata: sc.tl.leiden(adata, **arguments))
    assert_alike(ours[0], theirs[0])
    assert ours[1] is theirs[1] is None
    assert ours[2] == theirs[2]


@pytest.mark.parametrize("arguments", [IGRAPH, LEIDENALG], ids=["igraph", "leidenalg"])
def test_a_matrix_and_a_copy(cells, arguments):
    matrix = cells.obsp["few_connectivities"]
    ours, theirs = both(cells, lambda adata: sc.tl.leiden(adata, adjacency=matrix, copy=True, **arguments))
    assert "leiden" not in ours[0].obs
    assert_alike(ours[1], theirs[1])


@pytest.mark.parametrize("arguments", [{}, {"use_weights": False}, {"directed": False}], ids=str)
def test_clusters_of_louvain_are_scanpys(cells, arguments):
    ours, theirs = both(cells, lambda adata: sc.tl.louvain(adata, flavor="igraph", **arguments))
    assert_alike(ours[0], theirs[0])


@pytest.fixture(scope="module")
def real(data_dir):
    """Graphs of real cells, each made once."""
    made = {}

    def of(file):
        if file not in made:
            adata = ad.read_h5ad(data_dir / file)
            sc.pp.normalize_total(adata)
            sc.pp.log1p(adata)
            sc.pp.pca(adata, n_comps=15)
            sc.pp.neighbors(adata, random_state=0)
            made[file] = ad.AnnData(obs=adata.obs[[]], obsp=dict(adata.obsp), uns={"neighbors": adata.uns["neighbors"]})
        return made[file]

    return of


@pytest.mark.parametrize("file", ["pbmc3k_counts.h5ad", "pbmc_facs_counts.h5ad"])
@pytest.mark.parametrize("arguments", [IGRAPH, LEIDENALG], ids=["igraph", "leidenalg"])
def test_clusters_of_real_cells_are_scanpys(real, file, arguments):
    adata = real(file)
    for seed in (0, 1):
        ours, theirs = both(adata, lambda adata, seed=seed: sc.tl.leiden(adata, **arguments, **{SEED: seed}))
        assert_alike(ours[0], theirs[0])


def test_a_view_is_clustered_as_scanpy_does(cells):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        ours, theirs = both(cells, lambda adata: sc.tl.leiden(adata[::2], copy=True, **IGRAPH))
    assert_alike(ours[1], theirs[1])


def test_other_functions_that_ask_for_a_graph_give_what_they_give(cells):
    def call(adata):
        sc.tl.paga(adata, "kind")
        sc.tl.draw_graph(adata, layout="fr")
        return adata.uns["paga"]["connectivities"].toarray(), adata.obsm["X_draw_graph_fr"]

    ours, theirs = both(cells, call)
    for one, other in zip(ours[1], theirs[1], strict=True):
        np.testing.assert_array_equal(one, other)


# -- memory


def test_memory_is_reserved_for_as_long_as_clusters_are_looked_for(cells, monkeypatch):
    held = []
    own = igraph.Graph.community_leiden

    def community_leiden(self, *args, **kwargs):
        held.append(ACCOUNTANT.held.get("workspace", 0))
        return own(self, *args, **kwargs)

    monkeypatch.setattr(igraph.Graph, "community_leiden", community_leiden)
    before = ACCOUNTANT.held.get("workspace", 0)
    sc.tl.leiden(cells.copy(), **IGRAPH)
    assert held == [before + graphs.BYTES_OF_AN_EDGE * cells.obsp["connectivities"].nnz]
    assert ACCOUNTANT.held.get("workspace", 0) == before


PEAK = """
import sys, warnings
import anndata as ad, numpy as np, scanpy as sc
from scipy import sparse
import scanpy_oom
from scanpy_oom.memory.peak import PeakMemory

warnings.simplefilter("ignore")
scanpy_oom.enable() if sys.argv[1] == "ours" else scanpy_oom.disable()
def cells(n):
    rng = np.random.default_rng(0)
    columns = (np.arange(n)[:, None] // 100 * 100 + rng.integers(0, 100, (n, 10))) % n
    graph = sparse.csr_matrix((rng.random(n * 10, dtype="f4"), (np.repeat(np.arange(n), 10), columns.ravel())), (n, n))
    adata = ad.AnnData(sparse.csr_matrix((n, 1), dtype="f4"))
    adata.obsp["graph"] = graph.maximum(graph.T).tocsr()
    return adata
call = dict(flavor=sys.argv[2], n_iterations=1, obsp="graph", directed=False)
sc.tl.leiden(cells(500), **call)  # imports
adata = cells(40_000)
with PeakMemory() as memory:
    sc.tl.leiden(adata, **call)
print(memory.nbytes, adata.obsp["graph"].nnz)
"""


def peak(whose, flavor):
    command = [sys.executable, "-c", PEAK, whose, flavor]
    output = subprocess.run(command, check=True, capture_output=True, text=True, timeout=600).stdout
    return tuple(map(int, output.split()))


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="the kernel tells the peak on Linux alone")
def test_clusters_take_less_memory_than_scanpys():
    (ours, n_edges), (theirs, _) = peak("ours", "igraph"), peak("scanpy", "igraph")
    assert ours <= theirs / 3
    assert ours <= 1.25 * graphs.BYTES_OF_AN_EDGE * n_edges


# -- another scanpy


def test_another_graph_than_known_is_left_to_scanpy_with_a_warning(monkeypatch):
    def other(adjacency, *, directed):
        graph = igraph.Graph(n=adjacency.shape[0], edges=[(0, 1)], directed=directed)
        graph.es["weight"] = [7.0]
        return graph

    graphs._warn_of_other_graphs.cache_clear()
    with pytest.warns(UserWarning, match=f"scanpy {version('scanpy')} builds other graphs in .*get_igraph_from_adj"):
        found = graphs.graph_from_adjacency(other, "scanpy.tools._leiden", weights(), directed=False)
    assert found.ecount() == 1
    graphs._warn_of_other_graphs.cache_clear()


def test_a_function_that_is_gone_is_warned_of_once_and_nothing_else_is_lost(monkeypatch):
    monkeypatch.setattr(_scanpy, "PLACES", {**_scanpy.PLACES, "graph_from_adjacency": ("_utils:_is_gone",)})
    scanpy_oom.disable()
    patch._warn_of_missing.cache_clear()
    try:
        with pytest.warns(UserWarning, match=f"scanpy {version('scanpy')} has no `scanpy._utils._is_gone`.*leiden"):
            scanpy_oom.enable()
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            scanpy_oom.enable()
        assert hasattr(sc.pp.log1p, "__wrapped__")
    finally:
        monkeypatch.undo()
        patch._warn_of_missing.cache_clear()
        scanpy_oom.enable()
