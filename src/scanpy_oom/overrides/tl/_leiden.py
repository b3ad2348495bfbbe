"""`sc.tl.leiden` with ``settings.graph = "fast"``, and of several resolutions at once."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime
from numbers import Integral, Real
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from natsort import natsorted
from scanpy import logging as logg
from sklearn.utils import check_random_state

from ... import _scanpy
from ..._scanpy import SCANPY_1_12, SCANPY_1_13, UNSET
from ...errors import UnsupportedOutOfMemory
from ...messages import warn_user

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from anndata import AnnData

    from ...clustering.graph import ClusterGraph
    from ...clustering.leiden import Clusters, Search

__all__ = ["leiden", "leiden_resolutions"]

OPTIONS = {"beta", "initial_membership", "node_weights", "objective_function"}
"""Arguments of :meth:`igraph.Graph.community_leiden` that are served."""

IGRAPH_IS_FASTER = (
    "The `igraph` implementation of leiden clustering is *orders of magnitude faster*. "
    "Set the flavor argument to (and install if needed) 'igraph' to use it."
)
"""What scanpy 1.12 and later warn of where leidenalg is asked for by name."""

WAY_OUT = (
    "Change what is named here, or call sc.tl.leiden with flavor='igraph' and directed=False for each "
    "resolution: it leaves to scanpy what is not covered."
)
"""What is said with each reason for which several resolutions are refused."""


def leiden(  # noqa: PLR0913
    adata: AnnData,
    resolution: float = 1,
    *,
    restrict_to: tuple[str, Sequence[str]] | None = None,
    random_state: object = UNSET,
    rng: object = UNSET,
    key_added: str = "leiden",
    adjacency: object = None,
    directed: bool | None = None,
    use_weights: bool = True,
    n_iterations: int = -1,
    partition_type: object = None,
    neighbors_key: str | None = None,
    obsp: str | None = None,
    copy: bool = False,
    flavor: object = None,
    **clustering_args: object,
) -> AnnData | None:
    """Find clusters, as :func:`scanpy.tl.leiden` does, by a Leiden of our own: other clusters, as good as igraph's.

    Where the flavor is leidenalg's, they are the same, numbered by size: on a graph that is the same in both
    directions, modularity without directions is leidenalg's objective with them.

    Raises
    ------
    UnsupportedOutOfMemory
        For a directed graph, `partition_type`, arguments of one package's own, and weights that are not positive.
    """
    chosen = _flavor(flavor)
    _check(chosen, resolution, n_iterations, clustering_args, directed=directed, partition_type=partition_type)
    begin = datetime.now(UTC)
    adata = adata.copy() if copy else adata
    part = _Part.of(adata, restrict_to, adjacency, obsp, neighbors_key)
    graph = part.graph(use_weights=use_weights, symmetric=chosen == "leidenalg")
    noted, source = _seed(random_state, rng)
    wanted = _search(graph, resolution, n_iterations, source, clustering_args)
    # all is covered: scanpy says the same of a call that is left to it
    if SCANPY_1_12 and flavor == "leidenalg":
        warn_user(IGRAPH_IS_FASTER)
    logg.info("running Leiden clustering")

    from ...clustering.leiden import find_clusters

    (found,) = find_clusters(graph, [wanted])
    if chosen == "leidenalg":
        found = _as_leidenalg(graph, found)
    if restrict_to is not None and key_added == "leiden":
        key_added += "_R"
    params = _params(resolution, n_iterations, noted)
    part.put(adata, key_added, found, params, begin)
    return adata if copy else None


def leiden_resolutions(  # noqa: PLR0913
    adata: AnnData,
    resolutions: Iterable[float],
    *,
    restrict_to: tuple[str, Sequence[str]] | None = None,
    random_state: object = UNSET,
    rng: object = UNSET,
    key_added: str = "leiden",
    adjacency: object = None,
    use_weights: bool = True,
    n_iterations: int = -1,
    neighbors_key: str | None = None,
    obsp: str | None = None,
    copy: bool = False,
    **clustering_args: object,
) -> AnnData | None:
    """Find clusters for several resolutions, on all cores.

    Clusters are those of one call of :func:`scanpy.tl.leiden` after the other with ``settings.graph = "fast"``,
    ``flavor="igraph"`` and ``directed=False``. They are the same for any number of cores and any limit of memory. A
    seed that is a number is that of each resolution; from a generator of random numbers each draws its own.

    Parameters
    ----------
    adata
        The cells.
    resolutions
        The higher one is, the more clusters there are.
    key_added
        Beginning of the names of columns in `obs`, and of entries in `uns`: ``"leiden_0.5"`` for 0.5.
    restrict_to, random_state, rng, adjacency, use_weights, n_iterations, neighbors_key, obsp, copy, clustering_args
        As in :func:`scanpy.tl.leiden`. The seed is 0 by default.

    Returns
    -------
    `None`, or the copy.

    Raises
    ------
    UnsupportedOutOfMemory
        For arguments that are not covered, and weights that are not positive: call :func:`scanpy.tl.leiden` instead.
    """
    wanted: list[Any] = list(resolutions)
    keys = [f"{key_added}_{resolution}" for resolution in wanted]
    if len(set(keys)) < len(keys):
        msg = f"resolutions must differ from each other, not be {wanted}: pass each once."
        raise ValueError(msg)
    for resolution in wanted:
        if resolution is None or not isinstance(resolution, Real):
            msg = f"resolutions must be numbers, not {resolution!r}: pass a list like [0.5, 1.0]."
            raise ValueError(msg)
    if not wanted:
        return adata.copy() if copy else None
    begin = datetime.now(UTC)
    try:
        _check("igraph", wanted[0], n_iterations, clustering_args)
        adata = adata.copy() if copy else adata
        part = _Part.of(adata, restrict_to, adjacency, obsp, neighbors_key)
        graph = part.graph(use_weights=use_weights)
        seeds = [_seed(random_state, rng) for _ in wanted]
        searches = [
            _search(graph, resolution, n_iterations, source, clustering_args)
            for resolution, (_, source) in zip(wanted, seeds, strict=True)
        ]
    except UnsupportedOutOfMemory as error:
        reason = f"{error.reason}. {WAY_OUT}"
        raise UnsupportedOutOfMemory(reason) from error
    logg.info("running Leiden clustering")

    from ...clustering.leiden import find_clusters

    results = find_clusters(graph, searches)  # nothing is put anywhere unless all are there
    for key, resolution, found, (noted, _) in zip(keys, wanted, results, seeds, strict=True):
        part.put(adata, key, found, _params(resolution, n_iterations, noted), begin)
    return adata if copy else None


def _flavor(flavor: object) -> Any:
    """Return the flavor that scanpy would take."""
    if _scanpy.is_unset(flavor) or flavor is None:
        return _scanpy.preset(UNSET, "leiden", "flavor", "leidenalg")
    return flavor


def _check(
    flavor: object,
    resolution: object,
    n_iterations: object,
    clustering_args: Mapping[str, object],
    *,
    directed: bool | None = None,
    partition_type: object = None,
) -> None:
    """Make sure that the arguments are covered."""
    if flavor not in ("igraph", "leidenalg"):
        reason = f"`flavor={flavor!r}`"
        raise UnsupportedOutOfMemory(reason)
    if directed:
        reason = "`directed=True`, and modularity is without directions here"
        raise UnsupportedOutOfMemory(reason)
    if partition_type is not None:
        reason = "`partition_type` is given, which is leidenalg's"
        raise UnsupportedOutOfMemory(reason)
    if not isinstance(n_iterations, Integral):
        reason = f"`n_iterations={n_iterations!r}` is no whole number"
        raise UnsupportedOutOfMemory(reason)
    if not isinstance(resolution, Real | None):
        reason = f"`resolution={resolution!r}` is no number"
        raise UnsupportedOutOfMemory(reason)
    if flavor == "leidenalg" and resolution is None:
        reason = "`resolution=None`, which leidenalg takes for its own default"
        raise UnsupportedOutOfMemory(reason)
    for name in clustering_args:
        if flavor == "leidenalg":
            reason = f"`{name}` is given, which is an argument of leidenalg"
            raise UnsupportedOutOfMemory(reason)
        if name not in OPTIONS:
            reason = f"`{name}` is given, which is none of {', '.join(sorted(OPTIONS))}"
            raise UnsupportedOutOfMemory(reason)
    if clustering_args.get("objective_function", "modularity") not in ("modularity", "CPM"):
        reason = f"`objective_function={clustering_args['objective_function']!r}` is neither 'modularity' nor 'CPM'"
        raise UnsupportedOutOfMemory(reason)
    beta = clustering_args.get("beta", 0.01)
    if not (isinstance(beta, int | float) and beta > 0):
        reason = f"`beta={beta!r}` is no positive number"
        raise UnsupportedOutOfMemory(reason)


@dataclass(frozen=True)
class _Part:
    """The cells among which clusters are looked for, and their graph."""

    adjacency: Any
    restricted: tuple[str, Sequence[str], Any] | None

    @classmethod
    def of(
        cls, adata: AnnData, restrict_to: Any, adjacency: object, obsp: str | None, neighbors_key: str | None
    ) -> _Part:
        if adjacency is None:
            adjacency = _scanpy.choose_graph(adata, obsp, neighbors_key)
        if restrict_to is None:
            return cls(adjacency, None)
        key, categories = restrict_to
        adjacency, rows = _scanpy.restrict_adjacency(adata, key, restrict_categories=categories, adjacency=adjacency)
        return cls(adjacency, (key, categories, rows))

    def graph(self, *, use_weights: bool, symmetric: bool = False) -> ClusterGraph:
        """Return the graph, which must be the same in both directions if `symmetric`."""
        from ...clustering.graph import ClusterGraph

        twice = not _scanpy.is_second_preset()
        graph = ClusterGraph.of(self.adjacency, use_weights=use_weights, twice=twice)
        if symmetric and not graph.is_symmetric:
            reason = "the graph is not the same in both directions, in which leidenalg takes it"
            raise UnsupportedOutOfMemory(reason)
        if symmetric and not twice and np.any(self.adjacency.diagonal()):
            reason = "the graph has edges of cells to themselves, which leidenalg counts in another way"
            raise UnsupportedOutOfMemory(reason)
        return graph

    def put(self, adata: AnnData, key: str, found: Clusters, params: Mapping[str, object], begin: datetime) -> None:
        """Put clusters where scanpy does, and say so."""
        numbers = np.unique(found.labels)
        if self.restricted is None:
            names = natsorted(map(str, numbers))
            codes = np.empty(int(numbers[-1]) + 1, np.int64)
            codes[np.array(names, dtype=np.int64)] = np.arange(len(names))
            adata.obs[key] = pd.Categorical.from_codes(codes[found.labels], categories=pd.Index(names))
        else:
            column, categories, rows = self.restricted
            groups = _scanpy.rename_groups(
                adata,
                key_added=key,
                restrict_key=column,
                restrict_categories=categories,
                restrict_indices=rows,
                groups=found.labels,
            )
            numbers = np.unique(groups)
            adata.obs[key] = pd.Categorical(values=groups.astype("U"), categories=natsorted(map(str, numbers)))
        adata.uns[key] = {"params": dict(params)}
        if SCANPY_1_12:
            adata.uns[key]["modularity"] = found.modularity
        logg.info(
            "    finished",
            time=begin,
            deep=f"found {len(numbers)} clusters and added\n    {key!r}, the cluster labels (adata.obs, categorical)",
        )


def _search(
    graph: ClusterGraph, resolution: float | None, n_iterations: int, source: Any, options: Mapping[str, Any]
) -> Search:
    """Return what is looked for, by the arguments of igraph.

    Raises
    ------
    ValueError
        If there are not as many clusters to start from, or sizes, as vertices, or these are no such numbers.
    """
    from ...clustering.leiden import Search

    start, sizes = options.get("initial_membership"), options.get("node_weights")
    n = graph.n_vertices
    if start is not None:
        start = np.asarray(start)
        if start.shape != (n,) or start.dtype.kind not in "iu" or start.min() < 0:
            msg = f"`initial_membership` must be {n:,} whole numbers, one per cell, none negative."
            raise ValueError(msg)
        start = np.unique(start, return_inverse=True)[1]
    if sizes is not None:
        sizes = np.asarray(sizes)
        if sizes.dtype.kind not in "fiu":
            reason = f"`node_weights` are of {sizes.dtype}"
            raise UnsupportedOutOfMemory(reason)
        sizes = sizes.astype(np.float64)
        if sizes.shape != (n,) or not (np.isfinite(sizes).all() and sizes.min() >= 0 and sizes.any()):
            msg = f"`node_weights` must be {n:,} numbers, one per cell, none negative and not all zero."
            raise ValueError(msg)
        with np.errstate(over="ignore"):
            whole = sizes.sum()
        if not (1e-280 < whole < 1e300 and sizes[sizes > 0].min() > 1e-12 * whole):
            reason = "`node_weights` differ by more than double precision can add"
            raise UnsupportedOutOfMemory(reason)
    return Search(
        1.0 if resolution is None else float(resolution),
        int(n_iterations),
        _bits(source),
        options.get("objective_function", "modularity"),
        float(options.get("beta", 0.01)),
        start,
        sizes,
    )


def _bits(source: np.random.RandomState | np.random.Generator) -> int:
    """Draw 64 bits."""
    if isinstance(source, np.random.RandomState):
        return int(source.randint(0, np.iinfo(np.uint64).max, dtype=np.uint64))
    return int(source.integers(0, np.iinfo(np.uint64).max, dtype=np.uint64))


def _as_leidenalg(graph: ClusterGraph, found: Clusters) -> Clusters:
    """Number clusters by size, and take the modularity of edges without weights, as leidenalg does."""
    from ...clustering.leiden import Clusters, modularity

    by_size = np.argsort(-np.bincount(found.labels), kind="stable")
    numbers = np.empty(len(by_size), np.int32)
    numbers[by_size] = np.arange(len(by_size), dtype=np.int32)
    edges = replace(graph, weights=np.ones(len(graph.weights), np.float32))
    return Clusters(numbers[found.labels], modularity(edges, found.labels))


def _seed(random_state: Any, rng: Any) -> tuple[dict[str, Any], Any]:
    """Return what scanpy notes down of the seed, and what it draws from."""
    if not SCANPY_1_13:
        seed = 0 if random_state is UNSET else random_state
        try:
            return {"random_state": seed}, check_random_state(seed)
        except ValueError as error:
            reason = f"`random_state={seed!r}` is no seed"
            raise UnsupportedOutOfMemory(reason) from error
    if rng is UNSET:
        rng = _scanpy.legacy_rng(0 if random_state is UNSET else random_state)
    draws = np.random.default_rng(rng)
    if isinstance(draws, _scanpy.legacy_rng):
        return {"random_state": draws.arg}, draws.state
    return {}, draws


def _params(resolution: float | None, n_iterations: int, noted: Mapping[str, object]) -> dict[str, Any]:
    """Return what scanpy notes down, in its order."""
    if SCANPY_1_13:
        return {"resolution": resolution, "n_iterations": n_iterations, **noted}
    return {"resolution": resolution, **noted, "n_iterations": n_iterations}
