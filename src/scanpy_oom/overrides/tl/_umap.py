"""`sc.tl.umap` with ``settings.graph = "fast"``."""

from __future__ import annotations

from numbers import Integral
from typing import TYPE_CHECKING, Any

import numpy as np
from scanpy import logging as logg
from scipy import sparse
from sklearn.utils import check_array, check_random_state

from ... import _scanpy
from ..._scanpy import SCANPY_1_13, UNSET
from ...embedding.curve import find_ab_params
from ...embedding.graph import LayoutGraph
from ...embedding.layout import Forces
from ...embedding.umap import lay_out
from ...errors import UnsupportedOutOfMemory

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from anndata import AnnData
    from numpy.typing import NDArray

__all__ = ["umap"]

METRICS = {"braycurtis", "canberra", "chebyshev", "cityblock", "correlation", "cosine", "euclidean", "manhattan"}
"""Metrics by which components of a graph are placed."""


def umap(  # noqa: PLR0913
    adata: AnnData,
    *,
    min_dist: float = 0.5,
    spread: float = 1.0,
    n_components: int = 2,
    maxiter: int | None = None,
    alpha: float = 1.0,
    gamma: float = 1.0,
    negative_sample_rate: float = 5,
    init_pos: object = "spectral",
    random_state: object = UNSET,
    rng: object = UNSET,
    a: float | None = None,
    b: float | None = None,
    method: str = "umap",
    key_added: object = UNSET,
    neighbors_key: str | None = "neighbors",
    copy: bool = False,
) -> AnnData | None:
    """Lay out the graph of neighbours, as :func:`scanpy.tl.umap` does.

    The objective, the schedule and the beginning are umap-learn's. Coordinates are others, as they are for another
    seed, and they are the same for any number of threads.

    Raises
    ------
    UnsupportedOutOfMemory
        For another `method`, `init_pos` of umap-learn's other kinds, and graphs that are not the same in both
        directions.
    """
    neighbors_key = "neighbors" if neighbors_key is None else neighbors_key
    if neighbors_key not in adata.uns:
        msg = f"Did not find .uns[{neighbors_key!r}]. Run `sc.pp.neighbors` first."
        raise ValueError(msg)
    _check_arguments(adata, init_pos, maxiter, method)
    graph = _graph(adata, neighbors_key)
    _check_graph(graph, n_components)
    adata = adata.copy() if copy else adata
    start = logg.info("computing UMAP")
    neighbors = adata.uns[neighbors_key]
    params = neighbors.get("params", {})
    if params.get("method") != "umap":
        logg.warning(f'.obsp["{neighbors["connectivities_key"]}"] have not been computed using umap')
    if a is None or b is None:
        a, b = find_ab_params(spread, min_dist)
    noted, draws = _seed(random_state, rng)
    init = _init(adata, init_pos, random_state, draws, neighbors_key)
    positions = lay_out(
        graph,
        Forces(a=a, b=b, gamma=gamma, alpha=alpha, negative_sample_rate=negative_sample_rate),
        init,
        dim=n_components,
        n_epochs=None if maxiter is None else int(maxiter),
        state=_state(draws),
        centroid_distances=_centroid_distances(_representation(adata, params), params),
    )
    key = _scanpy.preset(key_added, "umap", "key_added")
    key_obsm, key_uns = ("X_umap", "umap") if key is None else (key, key)
    adata.uns[key_uns] = {"params": {"a": a, "b": b, **noted}}
    adata.obsm[key_obsm] = positions
    logg.info(
        "    finished",
        time=start,
        deep=(f"added\n    {key_obsm!r}, UMAP coordinates (adata.obsm)\n    {key_uns!r}, UMAP parameters (adata.uns)"),
    )
    return adata if copy else None


def _check_arguments(adata: AnnData, init_pos: object, maxiter: object, method: object) -> None:
    """Make sure that the arguments are covered."""
    if method != "umap":
        reason = f"`method={method!r}`"
        raise UnsupportedOutOfMemory(reason)
    if not (maxiter is None or (isinstance(maxiter, Integral) and int(maxiter) >= 0)):
        reason = f"`maxiter={maxiter!r}` is no number of epochs"
        raise UnsupportedOutOfMemory(reason)
    known = isinstance(init_pos, str) and (init_pos in adata.obsm or init_pos in {"spectral", "random", "paga"})
    if not known and not (isinstance(init_pos, np.ndarray) and init_pos.ndim == 2 and len(init_pos) == adata.n_obs):
        reason = "`init_pos` is neither 'spectral', 'random', 'paga', a key of obsm nor an array with a row a cell"
        raise UnsupportedOutOfMemory(reason)


def _graph(adata: AnnData, neighbors_key: str) -> sparse.csr_matrix | sparse.csr_array:
    """Return the connectivities, as they are wherever that can be."""
    neighbors = adata.uns[neighbors_key]
    key = neighbors.get("connectivities_key")
    graph = adata.obsp.get(key)
    if not sparse.issparse(graph) or graph.format != "csr" or graph.dtype.kind != "f":
        reason = "the connectivities are no CSR matrix of real numbers in obsp"
        raise UnsupportedOutOfMemory(reason)
    if not graph.has_canonical_format:
        graph = graph.copy()
        graph.sum_duplicates()
    return graph


def _check_graph(graph: sparse.csr_matrix | sparse.csr_array, n_components: int) -> None:
    """Make sure that the graph can be laid out."""
    if graph.shape[0] <= n_components + 1:
        reason = "there are hardly more cells than dimensions"
        raise UnsupportedOutOfMemory(reason)
    if not graph.data.max(initial=0) > 0 or graph.data.min(initial=0) < 0:
        reason = "the connectivities are not positive"
        raise UnsupportedOutOfMemory(reason)
    if not LayoutGraph(graph, 0).is_symmetric():
        reason = "the connectivities are not the same in both directions"
        raise UnsupportedOutOfMemory(reason)


def _seed(random_state: Any, rng: Any) -> tuple[dict[str, Any], Any]:
    """Return what scanpy notes down of the seed, and what it draws from."""
    if not SCANPY_1_13:
        seed = 0 if random_state is UNSET else random_state
        same = isinstance(seed, Integral) and seed == 0
        return ({} if same else {"random_state": seed}), check_random_state(seed)
    if rng is UNSET:
        rng = _scanpy.legacy_rng(0 if random_state is UNSET else random_state)
    draws = np.random.default_rng(rng)
    return ({"random_state": draws.arg} if isinstance(draws, _scanpy.legacy_rng) else {}), draws


def _state(draws: Any) -> np.random.RandomState:
    """Return what noise is drawn from."""
    return _scanpy.legacy_random_state(draws, always_state=True) if SCANPY_1_13 else draws


def _init(
    adata: AnnData, init_pos: object, random_state: object, draws: object, neighbors_key: str
) -> str | NDArray[np.float32]:
    """Return where the layout begins, as a word or as positions."""
    if isinstance(init_pos, str) and init_pos in adata.obsm:
        init_pos = adata.obsm[init_pos]
    elif isinstance(init_pos, str) and init_pos == "paga":
        seed: dict[str, Any] = {"rng": draws}
        if not SCANPY_1_13:
            seed = {"random_state": 0 if random_state is UNSET else random_state}
        init_pos = _scanpy.init_pos_from_paga(adata, neighbors_key=neighbors_key, **seed)
    elif isinstance(init_pos, str):
        return init_pos
    positions: NDArray[np.float32] = check_array(init_pos, dtype=np.float32, accept_sparse=False)
    return positions


def _representation(adata: AnnData, params: Mapping[str, object]) -> Any:
    """Return what represents the cells, which is looked at only where a graph has many components."""
    use_rep = params.get("use_rep")
    if SCANPY_1_13:
        use_rep = _scanpy.rep_from_json(use_rep)
    return _scanpy.choose_representation(adata, use_rep=use_rep, n_pcs=params.get("n_pcs"), silent=True)


def _centroid_distances(x: Any, params: Mapping[str, Any]) -> Callable[[int, NDArray[np.int32]], NDArray[np.float64]]:
    """Give what tells how far the centroids of components are from each other."""
    metric, kwds = params.get("metric", "euclidean"), params.get("metric_kwds", {})

    def distances(n_components: int, labels: NDArray[np.int32]) -> NDArray[np.float64]:
        from sklearn.metrics import pairwise_distances

        if not isinstance(metric, str) or metric not in METRICS or not isinstance(x, np.ndarray):
            reason = (
                "the graph has many components, which would be placed by a metric or by values that are not covered"
            )
            raise UnsupportedOutOfMemory(reason)
        sums = [np.bincount(labels, weights=x[:, j], minlength=n_components) for j in range(x.shape[1])]
        centroids = np.stack(sums, axis=1) / np.bincount(labels, minlength=n_components)[:, None]
        found: NDArray[np.float64] = pairwise_distances(centroids, metric=metric, **kwds)
        return found

    return distances
