"""`sc.tl.leiden` with ``settings.graph = "fast"``, beside scanpy's own."""

from __future__ import annotations

import warnings

import anndata as ad
import numpy as np
import pytest
import scanpy as sc
from natsort import natsorted
from sklearn.metrics import adjusted_rand_score

import scanpy_oom
from scanpy_oom import UnsupportedOutOfMemory, settings
from scanpy_oom._scanpy import SCANPY_1_12, SCANPY_1_13

from ...comparison import assert_same_log

IGRAPH = {"flavor": "igraph", "directed": False, "n_iterations": 2}
SEED = "rng" if SCANPY_1_13 else "random_state"


@pytest.fixture(scope="module")
def made():
    """A graph of clusters that are hard to tell apart, so that the seed matters."""
    rng = np.random.default_rng(0)
    adata = ad.AnnData(rng.normal(size=(400, 8)).astype("float32"))
    adata.obs["kind"] = rng.choice(["a", "b", "c"], adata.n_obs)
    adata.obs["kind"] = adata.obs["kind"].astype("category")
    sc.pp.neighbors(adata, n_neighbors=10, use_rep="X", random_state=0)
    sc.pp.neighbors(adata, n_neighbors=5, use_rep="X", random_state=0, key_added="few")
    return adata


def ours(adata, **arguments):
    """Call it, and return the AnnData that holds the clusters, and who ran it."""
    settings.graph = "fast"
    scanpy_oom.report(clear=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        result = sc.tl.leiden(adata, **arguments)
    return (adata if result is None else result), scanpy_oom.report().calls[-1]


def theirs(adata, **arguments):
    settings.graph = "scanpy"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        result = sc.tl.leiden(adata, **arguments)
    return adata if result is None else result


def assert_alike(found, expected):
    """All is the same, the clusters as well."""
    assert_of_one_form(found, expected)
    for key in expected.obs:
        assert found.obs[key].equals(expected.obs[key]), key
    for key in found.uns.keys() - {"neighbors", "few"}:
        assert found.uns[key].get("modularity") == pytest.approx(expected.uns[key].get("modularity"), abs=1e-12)


def assert_of_one_form(found, expected):
    """All is the same, but the cells of each cluster."""
    assert list(found.obs) == list(expected.obs)
    for key in expected.obs:
        assert found.obs[key].dtype.name == expected.obs[key].dtype.name
        assert not found.obs[key].cat.ordered
        assert found.obs[key].cat.categories.dtype == expected.obs[key].cat.categories.dtype
        in_order = natsorted(found.obs[key].cat.categories)
        assert list(found.obs[key].cat.categories) == in_order
        assert set(found.obs[key].unique()) == set(in_order)
    assert list(found.uns) == list(expected.uns)
    for key in found.uns.keys() - {"neighbors", "few"}:
        assert list(found.uns[key]) == list(expected.uns[key])
        assert list(found.uns[key]["params"].items()) == list(expected.uns[key]["params"].items())


def assert_as_good(found, expected, key="leiden"):
    """Of the same form, and with a modularity that is no lower, but for what seeds make of it."""
    assert_of_one_form(found, expected)
    if SCANPY_1_12:
        assert found.uns[key]["modularity"] > expected.uns[key]["modularity"] - 0.03


COVERED = {
    **{f"seed {seed}": {SEED: seed} for seed in range(4)},
    "random_state": {"random_state": 7},
    "no weights": {"use_weights": False},
    "resolution": {"resolution": 1.7},
    "no resolution": {"resolution": None},
    "CPM": {"resolution": 0.05, "objective_function": "CPM"},
    "beta": {"beta": 0.1},
    "start": {"initial_membership": list(np.arange(400) % 7)},
    "sizes": {"node_weights": list(np.full(400, 2.0))},
    "restricted": {"restrict_to": ("kind", ["a", "b"])},
    "restricted, key": {"restrict_to": ("kind", ["a"]), "key_added": "mine"},
    "key": {"key_added": "mine"},
    "other neighbors": {"neighbors_key": "few"},
    "obsp": {"obsp": "few_connectivities"},
    "to the end": {"n_iterations": -1},
    "copy": {"copy": True},
    "no direction": {"directed": None},
}


@pytest.mark.parametrize("arguments", COVERED.values(), ids=COVERED)
def test_what_is_left_in_the_object_has_the_form_of_what_scanpy_leaves(made, arguments):
    memory, fast = made.copy(), made.copy()
    arguments = {**IGRAPH, **arguments}
    expected = theirs(memory, **arguments)
    found, call = ours(fast, **arguments)
    assert call.how == "out of memory"
    assert "leiden" not in fast.obs if arguments.get("copy") else found is fast
    key = [*expected.obs][-1]
    assert_as_good(found, expected, key)
    if "initial_membership" not in arguments and "objective_function" not in arguments:
        n = expected.obs[key].nunique()
        assert abs(found.obs[key].nunique() - n) <= 2 + n // 4


def test_a_matrix_is_taken_and_one_that_differs_by_direction(made):
    for matrix in (made.obsp["few_connectivities"].tocsc(), made.obsp["distances"]):
        expected = theirs(made.copy(), adjacency=matrix, **IGRAPH)
        found, call = ours(made.copy(), adjacency=matrix, **IGRAPH)
        assert call.how == "out of memory"
        assert_as_good(found, expected)
        assert abs(found.obs["leiden"].nunique() - expected.obs["leiden"].nunique()) <= 4


def test_the_seed_decides_and_a_generator_draws_on(made):
    def labels(**arguments):
        return ours(made.copy(), **IGRAPH, **arguments)[0].obs["leiden"]

    assert labels(random_state=0).equals(labels())
    assert not labels(random_state=1).equals(labels())
    assert labels(random_state=np.random.RandomState(1)).equals(labels(random_state=1))
    source = np.random.RandomState(1)
    first, second = labels(random_state=source), labels(random_state=source)
    assert first.equals(labels(random_state=1))
    assert not second.equals(first)
    if SCANPY_1_13:
        assert labels(rng=np.random.default_rng(3)).equals(labels(rng=3))
        assert not labels(rng=np.random.default_rng(3)).equals(labels(rng=4))


def test_the_default_flavor_is_as_good_as_leidenalg_with_another_seed(data_dir):
    adata = ad.read_h5ad(data_dir / "pbmc3k_counts.h5ad")
    sc.pp.normalize_total(adata)
    sc.pp.log1p(adata)
    sc.pp.pca(adata, n_comps=15)
    sc.pp.neighbors(adata, random_state=0)
    own = [theirs(adata.copy(), **{SEED: seed}) for seed in (0, 1, 2)]
    fast, call = ours(adata.copy())
    assert call.how == "out of memory"
    among = min(adjusted_rand_score(own[0].obs["leiden"], one.obs["leiden"]) for one in own[1:])
    score = max(adjusted_rand_score(fast.obs["leiden"], one.obs["leiden"]) for one in own)
    assert score >= min(among, 0.9) - 0.05
    if SCANPY_1_12:
        assert fast.uns["leiden"]["modularity"] >= 0.998 * max(one.uns["leiden"]["modularity"] for one in own)
    assert [*fast.uns["leiden"]] == [*own[0].uns["leiden"]]
    counts = fast.obs["leiden"].value_counts(sort=False)
    assert (np.diff(counts) <= 0).all()  # as leidenalg numbers them


def partition(name):
    import leidenalg

    return getattr(leidenalg, name)


NOT_COVERED = {
    "partition_type": (
        lambda: {"partition_type": partition("ModularityVertexPartition"), "resolution": None},
        "`partition_type` is given",
    ),
    "directed": (lambda: {"directed": True}, "without directions"),
    "of leidenalg": (lambda: {"max_comm_size": 50}, "`max_comm_size` is given, which is an argument of leidenalg"),
    "distances": (lambda: {"obsp": "distances"}, "not the same in both directions"),
    "wide sizes": (
        lambda: {**IGRAPH, "objective_function": "CPM", "resolution": 0.05, "node_weights": [1e20] + [1.0] * 399},
        "`node_weights` differ",
    ),
    "beta": (lambda: {**IGRAPH, "beta": 0}, "`beta=0`"),
    "weights": (lambda: {**IGRAPH, "weights": "weight", "use_weights": False}, "`weights` is given"),
}


@pytest.mark.parametrize("arguments, said", NOT_COVERED.values(), ids=NOT_COVERED)
def test_what_is_not_covered_is_scanpy_s_and_the_report_says_so(made, arguments, said):
    arguments = {"n_iterations": 2, **arguments()}
    expected = theirs(made.copy(), **arguments)
    found, call = ours(made.copy(), **arguments)
    assert call.how == "scanpy as it is"
    assert f"settings.graph is 'fast', which does not cover this: {said}" in call.reason or said in call.reason
    assert_alike(found, expected)


@pytest.mark.parametrize("arguments, _said", NOT_COVERED.values(), ids=NOT_COVERED)
def test_a_call_that_is_left_to_scanpy_is_logged_once(made, arguments, _said):
    arguments = {"n_iterations": 2, **arguments()}
    memory = made.copy()
    logged = assert_same_log(lambda a: (theirs if a is memory else ours)(a, **arguments), memory, made.copy())
    assert logged.count("running Leiden clustering") == 1


def warnings_of(graph, adata, **arguments):
    settings.graph = graph
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        sc.tl.leiden(adata, n_iterations=2, **arguments)
    return [(one.category, str(one.message), one.filename) for one in caught]


@pytest.mark.skipif(not SCANPY_1_12, reason="a warning of scanpy 1.12")
@pytest.mark.parametrize("served", [True, False])
def test_leidenalg_by_name_is_warned_of_once_as_scanpy_does(made, served):
    arguments = {"flavor": "leidenalg"} if served else {"flavor": "leidenalg", "obsp": "distances"}
    expected = warnings_of("scanpy", made.copy(), **arguments)
    assert [(category, file) for category, _, file in expected] == [(UserWarning, __file__)]
    assert warnings_of("fast", made.copy(), **arguments) == expected
    assert warnings_of("fast", made.copy(), flavor="igraph", directed=False) == []


@pytest.mark.skipif(not SCANPY_1_12, reason="a warning of scanpy 1.12")
def test_leidenalg_by_name_changes_nothing_where_warnings_are_errors(made):
    settings.graph, adata = "fast", made.copy()
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        with pytest.raises(UserWarning, match="faster"):
            sc.tl.leiden(adata, flavor="leidenalg")
    assert list(adata.obs) == list(made.obs)


WRONG = {
    "flavor": {"flavor": "louvain"},
    "directions": {"flavor": "igraph", "directed": True},
    "partition_type": {"flavor": "igraph", "partition_type": object},
    "two graphs": {**IGRAPH, "obsp": "distances", "neighbors_key": "few"},
    "no such graph": {**IGRAPH, "neighbors_key": "none"},
    "no such category": {**IGRAPH, "restrict_to": ("kind", ["z"])},
    "no text": {**IGRAPH, "restrict_to": ("kind", [1])},
    "objective": {**IGRAPH, "objective_function": "none"},
    "option": {**IGRAPH, "none": 1},
    "iterations": {**IGRAPH, "n_iterations": 2.7},
    "resolution": {**IGRAPH, "resolution": "1"},
    "flavor without hash": {"flavor": ["igraph"]},
}


@pytest.mark.parametrize("arguments", WRONG.values(), ids=WRONG)
def test_what_is_wrong_is_said_as_scanpy_says_it_and_nothing_is_changed(made, arguments):
    adata = made.copy()
    with pytest.raises(Exception) as want:  # noqa: PT011 - as scanpy does, whatever it is
        theirs(adata, **arguments)
    with pytest.raises(want.type) as got:
        ours(adata, **arguments)
    assert str(got.value) == str(want.value)
    assert list(adata.obs) == list(made.obs)
    assert list(adata.uns) == list(made.uns)


@pytest.mark.parametrize(
    "options, said",
    [
        ({"initial_membership": [0, 1]}, "`initial_membership` must be 400 whole numbers"),
        ({"initial_membership": np.linspace(0, 1, 400)}, "`initial_membership` must be 400 whole numbers"),
        ({"initial_membership": np.full(400, -1)}, "`initial_membership` must be 400 whole numbers"),
        ({"node_weights": np.ones(399)}, "`node_weights` must be 400 numbers"),
        ({"node_weights": np.full(400, np.nan)}, "`node_weights` must be 400 numbers"),
        ({"node_weights": np.zeros(400)}, "`node_weights` must be 400 numbers"),
    ],
)
def test_options_that_do_not_fit_are_refused_and_nothing_is_changed(made, options, said):
    adata = made.copy()
    with pytest.raises(ValueError, match=said):
        ours(adata, **IGRAPH, **options)
    assert list(adata.obs) == list(made.obs)


@pytest.mark.parametrize("limit", ["300 MB", "2 GB"])
@pytest.mark.parametrize("n_threads", [1, 2, 4])
def test_clusters_are_the_same_for_any_threads_and_limit(made, limit, n_threads):
    expected, _ = ours(made.copy(), **IGRAPH)
    settings.memory_limit, settings.n_threads = limit, n_threads
    assert_alike(ours(made.copy(), **IGRAPH)[0], expected)


# -- several resolutions

SEVERAL = {
    "plain": {},
    "seed": {SEED: 5},
    "restricted": {"restrict_to": ("kind", ["a", "b"])},
    "other neighbors, no weights": {"neighbors_key": "few", "use_weights": False},
    "obsp": {"obsp": "few_connectivities", "key_added": "mine"},
    "copy, option": {"copy": True, "beta": 0.05},
}


@pytest.mark.parametrize("arguments", SEVERAL.values(), ids=SEVERAL)
def test_several_resolutions_are_one_call_after_the_other(made, arguments):
    expected, adata = made.copy(), made.copy()
    rest = {name: value for name, value in arguments.items() if name not in {"copy", "key_added"}}
    for resolution in (0.5, 1, 1.5):
        key = f"{arguments.get('key_added', 'leiden')}_{resolution}"
        ours(expected, resolution=resolution, key_added=key, **IGRAPH, **rest)
    found = scanpy_oom.tl.leiden_resolutions(adata, [0.5, 1, 1.5], n_iterations=2, **arguments)
    assert (found is None) == ("copy" not in arguments)
    assert_alike(adata if found is None else found, expected)


def test_several_resolutions_on_several_cores_are_the_same(made):
    settings.n_threads = 1
    expected = made.copy()
    scanpy_oom.tl.leiden_resolutions(expected, [0.5, 2], n_iterations=2)
    settings.n_threads, settings.memory_limit = 2, "2 GB"
    found = made.copy()
    scanpy_oom.tl.leiden_resolutions(found, [0.5, 2], n_iterations=2)
    assert_alike(found, expected)


def test_several_resolutions_draw_one_after_the_other_from_one_generator(made):
    settings.n_threads, settings.memory_limit = 2, "2 GB"
    expected, adata = made.copy(), made.copy()
    source = np.random.RandomState(1)
    for resolution in (0.5, 1.5):
        ours(expected, resolution=resolution, key_added=f"leiden_{resolution}", random_state=source, **IGRAPH)
    scanpy_oom.tl.leiden_resolutions(adata, [0.5, 1.5], n_iterations=2, random_state=np.random.RandomState(1))
    for key in ("leiden_0.5", "leiden_1.5"):
        assert adata.obs[key].equals(expected.obs[key])


def test_resolutions_that_cannot_be_meant_are_refused(made):
    adata = made.copy()
    with pytest.raises(ValueError, match=r"must differ.*\[1, 1\]: pass each once"):
        scanpy_oom.tl.leiden_resolutions(adata, [1, 1])
    with pytest.raises(ValueError, match=r"must be numbers, not None: pass a list like \[0.5, 1.0\]"):
        scanpy_oom.tl.leiden_resolutions(adata, [1, None])
    assert scanpy_oom.tl.leiden_resolutions(adata, []) is None
    assert list(adata.obs) == list(made.obs)


@pytest.mark.parametrize(
    "arguments, said",
    [
        ({"weights": "weight"}, "`weights` is given, which is none of beta, initial_membership, node_weights, object"),
        ({"flavor": "igraph"}, "`flavor` is given, which is none of"),
        ({"n_iterations": 2.5}, "`n_iterations=2.5` is no whole number"),
        ({"beta": 0}, "`beta=0` is no positive number"),
        ({"objective_function": "none"}, "`objective_function='none'` is neither 'modularity' nor 'CPM'"),
        ({"adjacency": -np.eye(400)}, "the graph has weights that are not positive"),
    ],
)
def test_what_several_resolutions_do_not_cover_is_said_with_a_way_out(made, arguments, said):
    adata = made.copy()
    with pytest.raises(UnsupportedOutOfMemory) as caught:
        scanpy_oom.tl.leiden_resolutions(adata, [1], **arguments)
    assert str(caught.value).startswith(said)
    assert "call sc.tl.leiden with flavor='igraph' and directed=False for each resolution" in str(caught.value)
    assert list(adata.obs) == list(made.obs)
