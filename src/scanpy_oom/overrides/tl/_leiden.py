"""`sc.tl.leiden` with ``settings.graph = "fast"``, and of several resolutions at once."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.util import find_spec
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

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from anndata import AnnData

    from ...clustering.graph import HalfGraph
    from ...clustering.leiden import Clusters, Search

__all__ = ["leiden", "leiden_resolutions"]

OPTIONS = {"beta", "initial_membership", "node_weights", "node_in_weights", "objective_function"}
"""Arguments of :meth:`igraph.Graph.community_leiden` that mean the same with one edge a pair."""


def leiden(  # noqa: PLR0913
    adata: AnnData,
    resolution: float = 1,
    *,
    restrict_to: tuple[str, Sequence[str]] | None = None,
    random_state: Any = UNSET,
    rng: Any = UNSET,
    key_added: str = "leiden",
    adjacency: Any = None,
    directed: bool | None = None,
    use_weights: bool = True,
    n_iterations: int = -1,
    partition_type: Any = None,
    neighbors_key: str | None = None,
    obsp: str | None = None,
    copy: bool = False,
    flavor: Any = None,
    **clustering_args: Any,
) -> AnnData | None:
    """Find clusters, as :func:`scanpy.tl.leiden` does, by igraph's Leiden on one edge a pair of cells.

    Where the flavor is leidenalg's, clusters are those of igraph too: on a graph that is the same in both directions,
    its modularity without directions is leidenalg's objective with them.

    Raises
    ------
    UnsupportedOutOfMemory
        For a directed graph, `partition_type`, arguments of one package's own, and weights that are not positive.
    """
    flavor = _flavor(flavor)
    _check(flavor, resolution, clustering_args, directed=directed, partition_type=partition_type)
    start = logg.info("running Leiden clustering")
    adata = adata.copy() if copy else adata
    part = _Part.of(adata, restrict_to, adjacency, obsp, neighbors_key)
    half = part.half(use_weights=use_weights, symmetric=flavor == "leidenalg")
    noted, source = _seed(random_state, rng)

    from ...clustering.leiden import clusters_of

    search = _search(resolution, n_iterations, source, clustering_args, weighs_modularity=flavor == "igraph")
    (found,) = clusters_of(half, [search])
    if restrict_to is not None and key_added == "leiden":
        key_added += "_R"
    params = _params(resolution, n_iterations, noted)
    part.put(adata, key_added, found, params, start)
    return adata if copy else None


def leiden_resolutions(  # noqa: PLR0913
    adata: AnnData,
    resolutions: Iterable[float],
    *,
    restrict_to: tuple[str, Sequence[str]] | None = None,
    random_state: Any = UNSET,
    rng: Any = UNSET,
    key_added: str = "leiden",
    adjacency: Any = None,
    use_weights: bool = True,
    n_iterations: int = -1,
    neighbors_key: str | None = None,
    obsp: str | None = None,
    copy: bool = False,
    **clustering_args: Any,
) -> AnnData | None:
    """Find clusters for several resolutions, in one graph that is built once, on all cores.

    Clusters are those of one call of :func:`scanpy.tl.leiden` after the other with ``flavor="igraph"`` and
    ``directed=False``. They are the same for any number of cores and any limit of memory. A seed that is a number is
    that of each resolution, and these are looked for in processes of their own, as many at one time as there are
    threads in the settings and as memory allows. From a generator of random numbers they draw one after the other.

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
        For `weights` and weights that are not positive: call :func:`scanpy.tl.leiden` instead.
    """
    wanted: list[Any] = list(resolutions)
    keys = [f"{key_added}_{resolution}" for resolution in wanted]
    if len(set(keys)) < len(keys):
        msg = f"resolutions must differ from each other, not be {wanted}."
        raise ValueError(msg)
    for resolution in wanted:
        if resolution is None or not isinstance(resolution, Real):
            msg = f"resolutions must be numbers, not {resolution!r}."
            raise ValueError(msg)
        _check("igraph", resolution, clustering_args)
    if not wanted:
        return adata.copy() if copy else None
    start = logg.info("running Leiden clustering")
    adata = adata.copy() if copy else adata
    part = _Part.of(adata, restrict_to, adjacency, obsp, neighbors_key)
    half = part.half(use_weights=use_weights)
    seeds = [_seed(random_state, rng) for _ in wanted]

    from ...clustering.leiden import clusters_of
    from ...clustering.processes import all_clusters

    searches = [_search(r, n_iterations, seed[1], clustering_args) for r, seed in zip(wanted, seeds, strict=True)]
    find: Callable[[HalfGraph, Sequence[Search]], Iterable[Clusters]] = clusters_of
    if isinstance(rng if random_state is UNSET else random_state, Integral | type(UNSET)):
        find = all_clusters
    results = list(find(half, searches))  # nothing is put anywhere unless all are there
    for key, resolution, found, (noted, _) in zip(keys, wanted, results, seeds, strict=True):
        part.put(adata, key, found, _params(resolution, n_iterations, noted), start)
    return adata if copy else None


def _flavor(flavor: Any) -> Any:
    """Return the flavor that scanpy would take."""
    if _scanpy.is_unset(flavor) or flavor is None:
        return _scanpy.preset(UNSET, "leiden", "flavor", "leidenalg")
    return flavor


def _check(
    flavor: Any,
    resolution: Any,
    clustering_args: Mapping[str, Any],
    *,
    directed: bool | None = None,
    partition_type: Any = None,
) -> None:
    """Make sure that the arguments are covered."""
    if find_spec("igraph") is None:
        reason = "igraph is not installed"
        raise UnsupportedOutOfMemory(reason)
    if flavor not in {"igraph", "leidenalg"}:
        reason = f"`flavor={flavor!r}`"
        raise UnsupportedOutOfMemory(reason)
    if directed:
        reason = "`directed=True`, and igraph's Leiden has no directions"
        raise UnsupportedOutOfMemory(reason)
    if partition_type is not None:
        reason = "`partition_type` is given, which is leidenalg's"
        raise UnsupportedOutOfMemory(reason)
    if flavor == "leidenalg" and resolution is None:
        reason = "`resolution=None`, which leidenalg takes for its own default"
        raise UnsupportedOutOfMemory(reason)
    for name in clustering_args:
        if flavor == "leidenalg" or name not in OPTIONS:
            reason = f"`{name}` is given, which is an argument of {flavor}"
            raise UnsupportedOutOfMemory(reason)


@dataclass(frozen=True)
class _Part:
    """The cells among which clusters are looked for, and their graph."""

    adjacency: Any
    restricted: tuple[str, Sequence[str], Any] | None

    @classmethod
    def of(cls, adata: AnnData, restrict_to: Any, adjacency: Any, obsp: str | None, neighbors_key: str | None) -> _Part:
        if adjacency is None:
            adjacency = _scanpy.choose_graph(adata, obsp, neighbors_key)
        if restrict_to is None:
            return cls(adjacency, None)
        key, categories = restrict_to
        adjacency, rows = _scanpy.restrict_adjacency(adata, key, restrict_categories=categories, adjacency=adjacency)
        return cls(adjacency, (key, categories, rows))

    def half(self, *, use_weights: bool, symmetric: bool = False) -> HalfGraph:
        """Return the graph with one edge a pair, which must be the same in both directions if `symmetric`."""
        from ...clustering.graph import HalfGraph

        half = HalfGraph.of(self.adjacency, use_weights=use_weights, twice=not _scanpy.is_second_preset())
        if symmetric and half.loops != 1:
            reason = "the graph is not the same in both directions, in which leidenalg takes it"
            raise UnsupportedOutOfMemory(reason)
        return half

    def put(self, adata: AnnData, key: str, found: Clusters, params: Mapping[str, Any], start: Any) -> None:
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
            time=start,
            deep=f"found {len(numbers)} clusters and added\n    {key!r}, the cluster labels (adata.obs, categorical)",
        )


def _search(
    resolution: float | None,
    n_iterations: int,
    source: Any,
    options: Mapping[str, Any],
    *,
    weighs_modularity: bool = True,
) -> Search:
    from ...clustering.leiden import Search

    return Search(resolution, n_iterations, source, options, weighs_modularity)


def _seed(random_state: Any, rng: Any) -> tuple[dict[str, Any], Any]:
    """Return what scanpy notes down of the seed, and what it draws from."""
    if not SCANPY_1_13:
        seed = 0 if random_state is UNSET else random_state
        return {"random_state": seed}, check_random_state(seed)
    if rng is UNSET:
        rng = _scanpy.legacy_rng(0 if random_state is UNSET else random_state)
    draws = np.random.default_rng(rng)
    if isinstance(draws, _scanpy.legacy_rng):
        return {"random_state": draws.arg}, draws.state
    return {}, draws


def _params(resolution: float | None, n_iterations: int, noted: Mapping[str, Any]) -> dict[str, Any]:
    """Return what scanpy notes down, in its order."""
    if SCANPY_1_13:
        return {"resolution": resolution, "n_iterations": n_iterations, **noted}
    return {"resolution": resolution, **noted, "n_iterations": n_iterations}
