"""`sc.pp.neighbors` with ``settings.graph = "fast"``."""

from __future__ import annotations

from numbers import Integral
from typing import TYPE_CHECKING, Any

import numpy as np
import scanpy as sc
from scanpy import logging as logg
from sklearn.metrics import pairwise_distances

from ... import _scanpy
from ..._scanpy import SCANPY_1_13, UNSET
from ...errors import UnsupportedOutOfMemory
from ...matrix import OOMMatrix
from ...matrix.interop.anndata import become
from ...neighbors.connectivities import gauss, umap
from ...neighbors.graph import distance_graph
from ...neighbors.points import METRICS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from anndata import AnnData
    from numpy.typing import NDArray

__all__ = ["neighbors"]

MOST_GENES = 1000
"""Columns of a matrix on disk that cells are compared by, all of which are held for each cell."""

FEW, MANY = 4096, 8192
"""Cells from which on scanpy asks pynndescent, for other metrics and for Euclidean distances.

Of fewer all pairs are compared, sparse data in their precision.
"""


def neighbors(  # noqa: PLR0913
    adata: AnnData,
    n_neighbors: int = 15,
    n_pcs: int | None = None,
    *,
    distances: object = None,
    use_rep: object = None,
    knn: bool = True,
    method: object = "umap",
    transformer: object = None,
    metric: Any = None,
    metric_kwds: Mapping[str, object] | None = None,
    random_state: object = UNSET,
    rng: object = UNSET,
    key_added: str | None = None,
    copy: bool = False,
) -> AnnData | None:
    """Compute the graph of nearest neighbours, as :func:`scanpy.pp.neighbors` does.

    The search is exact up to some 50,000 cells, and reaches a measured recall for more. Nothing is drawn at random, so
    that `random_state` and `rng` are only noted down.

    Raises
    ------
    UnsupportedOutOfMemory
        For other metrics than ``"euclidean"``, ``"cosine"`` and ``"correlation"``, other methods than ``"umap"`` and
        ``"gauss"``, `metric_kwds`, `transformer`, `distances` and ``knn=False``.
    """
    metric = "euclidean" if metric is None else metric
    given = {"distances": distances, "transformer": transformer, "metric_kwds": metric_kwds or None}
    _check(n_neighbors, given, knn=knn, method=method, metric=metric)
    start = logg.info("computing neighbors")
    adata = adata.copy() if copy else adata
    if adata.is_view:
        become(adata, adata.copy())
    if n_neighbors > adata.n_obs:
        n_neighbors = 1 + int(0.5 * adata.n_obs)
        logg.warning(f"n_obs too small: adjusting to `n_neighbors = {n_neighbors}`")
    x = _scanpy.choose_representation(adata, use_rep=use_rep, n_pcs=n_pcs)
    _check_values(x, n_neighbors, metric)
    graph, recall = distance_graph(x, n_neighbors, metric, _dtype(x, metric))
    between = logg.debug("computed neighbors", time=start)
    if method == "gauss":
        graph.sort_indices()  # as scanpy leaves it
    connectivities = (umap if method == "umap" else gauss)(graph)
    logg.debug("computed connectivities", time=between)
    params = {
        "n_neighbors": n_neighbors,
        "method": method,
        **_seed(random_state, rng),
        "metric": metric,
        "recall": recall,
        **({} if use_rep is None else {"use_rep": _scanpy.rep_to_json(use_rep) if SCANPY_1_13 else use_rep}),
        **({} if n_pcs is None else {"n_pcs": n_pcs}),
    }
    _put(adata, key_added, params, graph, connectivities, start)
    return adata if copy else None


def _check(n_neighbors: Any, given: Mapping[str, object], *, knn: bool, method: object, metric: object) -> None:
    """Make sure that the arguments are covered."""
    for name, value in given.items():
        if value is not None:
            reason = f"`{name}` is given"
            raise UnsupportedOutOfMemory(reason)
    if not knn:
        reason = "`knn=False` asks for all pairs of cells"
        raise UnsupportedOutOfMemory(reason)
    if not isinstance(method, str) or method not in {"umap", "gauss"}:
        reason = f"`method={method!r}`, which is neither 'umap' nor 'gauss'"
        raise UnsupportedOutOfMemory(reason)
    if not isinstance(metric, str) or metric not in METRICS:
        reason = f"the metric {metric if isinstance(metric, str) else 'is a function'}, which is none of " + ", ".join(
            METRICS
        )
        raise UnsupportedOutOfMemory(reason)
    if not isinstance(n_neighbors, Integral) or n_neighbors < 2:
        reason = f"`n_neighbors={n_neighbors!r}`, which is no number of at least 2"
        raise UnsupportedOutOfMemory(reason)


def _check_values(x: Any, n_neighbors: int, metric: str) -> None:
    """Make sure that what represents the cells is covered."""
    if isinstance(x, OOMMatrix):
        if x.shape[1] > MOST_GENES:
            reason = f"cells are compared by more than {MOST_GENES:,} genes"
            raise UnsupportedOutOfMemory(reason)
    elif not isinstance(x, np.ndarray) or x.ndim != 2 or x.dtype.kind not in "fiu":
        reason = f"cells are represented by a {type(x).__name__}, which is no table of real numbers"
        raise UnsupportedOutOfMemory(reason)
    if n_neighbors < 2:
        reason = "there are too few cells"
        raise UnsupportedOutOfMemory(reason)
    if metric != "euclidean" and x.shape[0] < FEW and isinstance(x, np.ndarray):
        values = x - x.mean(axis=1, keepdims=True) if metric == "correlation" else x
        if not np.all(np.any(values, axis=1)):
            reason = f"there are cells without length, of which scikit-learn, for few cells, knows no {metric} distance"
            raise UnsupportedOutOfMemory(reason)


def _dtype(x: NDArray[np.number] | OOMMatrix, metric: str) -> type[np.floating]:
    """Return the precision of scanpy's distances."""
    if x.shape[0] >= (MANY if metric == "euclidean" else FEW):
        return np.float64 if metric == "cosine" else np.float32  # of pynndescent's, which corrects cosines
    if metric == "euclidean":
        single = isinstance(x, OOMMatrix) and not x.is_dense and x.dtype == np.float32
    else:  # of few cells it asks scikit-learn, whose versions differ, and which has others for several threads
        probe = np.eye(2, dtype=x.dtype)
        distances = pairwise_distances(probe, metric=metric, n_jobs=sc.settings.n_jobs)
        single = distances.dtype == np.float32
    return np.float32 if single else np.float64


def _seed(random_state: object, rng: object) -> dict[str, Any]:
    """Return what scanpy notes down of the seed."""
    if rng is UNSET:
        return {"random_state": 0 if random_state is UNSET else random_state}
    return {"random_state": rng.arg} if isinstance(rng, _scanpy.legacy_rng) else {}


def _put(
    adata: AnnData, key_added: str | None, params: dict[str, Any], graph: object, connectivities: object, start: object
) -> None:
    """Put a graph where scanpy does, and say so."""
    prefix, key = ("", "neighbors") if key_added is None else (f"{key_added}_", key_added)
    conns, dists = f"{prefix}connectivities", f"{prefix}distances"
    adata.uns[key] = {"connectivities_key": conns, "distances_key": dists, "params": params}
    adata.obsp[dists] = graph
    adata.obsp[conns] = connectivities
    logg.info(
        "    finished",
        time=start,
        deep=(
            f"added to `.uns[{key!r}]`\n"
            f"    `.obsp[{dists!r}]`, distances for each pair of neighbors\n"
            f"    `.obsp[{conns!r}]`, weighted adjacency matrix"
        ),
    )
