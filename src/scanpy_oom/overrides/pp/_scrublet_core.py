"""Doublets: simulated, embedded together with cells, and scored by their neighbours."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from scanpy import logging as logg
from scipy import sparse
from sklearn.utils import check_random_state

from ... import _scanpy
from ..._scanpy import SCANPY_1_13
from ...engine.budget import require
from ...engine.compute import compute
from ...engine.explain import plan
from ...engine.sources.scratch import ScratchSourceWriter
from ...matrix import OOMMatrix
from ...matrix.transforms import ByColumn, Cast
from ...memory.ledger import ACCOUNTANT
from ...queries.answers import ENGINE
from ...queries.nearest import count_marked_neighbors
from ...reductions import RightProduct
from ._pca import How, fit_components

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from numpy.random import RandomState
    from numpy.typing import NDArray

    from ..._scanpy import Draws
__all__ = ["Doublets", "as_oom", "embed", "score", "simulate"]

PARENTS = 2**27
"""Bytes of parents that are held at a time."""

AT_ONCE = 8192
"""Doublets that are added up at a time."""

NEIGHBOR_NBYTES = 50
"""Bytes that one neighbour of one point takes in scanpy's search and in what it makes of the result."""

COORDINATES = np.dtype(np.float32)
"""Of cells and doublets, among which neighbours are found; that of approximate search, too."""

_DOUBLE = np.dtype(np.float64)


class Doublets(NamedTuple):
    """Counts of doublets, their totals, and the two cells that each is made of."""

    counts: OOMMatrix
    totals: np.ndarray
    parents: NDArray[np.int64]


def draws_of_each(draws: Draws, n: int) -> list[Draws]:
    """Return what each of `n` batches draws with."""
    return [{"rng": rng} for rng in draws["rng"].spawn(n)] if SCANPY_1_13 else [draws] * n


def draws_among(how: dict[str, object]) -> dict[str, object]:
    """Return what scanpy draws with, of all arguments of a call."""
    return {name: how[name] for name in ("rng", "random_state") if name in how}


def random_state(how: dict[str, Any]) -> np.random.RandomState:
    """Return what scikit-learn's estimators draw with."""
    return check_random_state(_scanpy.random_state(how["rng"]) if SCANPY_1_13 else how["random_state"])


def recorded(how: dict[str, Any]) -> dict[str, object]:
    """Return the seed as scanpy leaves it in `adata.uns`: since 1.13 only one that was given as `random_state`."""
    if not SCANPY_1_13:
        return {"random_state": how["random_state"]}
    return {"random_state": how["rng"].arg} if hasattr(how["rng"], "arg") else {}


def as_oom(x: OOMMatrix | np.ndarray | sparse.spmatrix) -> OOMMatrix:
    """Return a matrix in memory in the form of those that are not."""
    return x if isinstance(x, OOMMatrix) else OOMMatrix.from_memory(x)


def simulate(x: OOMMatrix, ratio: float | None, subsampling: float, draws: Draws) -> Doublets:
    """Add counts of pairs of cells, which are drawn as scanpy draws them."""
    n_obs = x.shape[0]
    if not SCANPY_1_13:  # numbers of both draws come from one state
        draws = {"random_state": check_random_state(draws["random_state"])}
    n_sim = int(n_obs * (2.0 if ratio is None else ratio))
    plan.results(24 * n_sim)
    parents = _scanpy.sample_comb((n_obs, n_obs), n_sim, **draws)
    if subsampling < 1:
        return _subsampled(x, parents, subsampling, draws)
    sum_dtype = sparse.csc_matrix(np.ones((1, 1), dtype=x.dtype)).sum(axis=1).dtype
    totals = np.empty(n_sim, dtype=sum_dtype)
    writer = ScratchSourceWriter(x.select(parents[:, 0]), "doublets", kind="csc")
    for first, last in _rounds(x, n_sim):
        if first:
            plan.reason("so many parents of doublets are not held at a time")
        cells, of = np.unique(parents[first:last], return_inverse=True)
        rows = plan.or_assume(partial(_held, x.select(cells)), partial(sparse.csr_matrix, (cells.size, x.shape[1])))
        sums = np.asarray(rows.sum(axis=1, dtype=np.float64)).ravel().astype(sum_dtype)
        one, other = of.reshape(-1, 2).T
        totals[first:last] = sums[one] + sums[other]
        for start in range(0, last - first, AT_ONCE):
            stop = min(start + AT_ONCE, last - first)
            both = rows[one[start:stop]] + rows[other[start:stop]]
            indices = both.indices.astype(np.int32, copy=False)
            writer.add(first + start, both.indptr.astype(np.int64), indices, both.data)
    return Doublets(OOMMatrix.from_source(writer.finish()), totals, parents)


def _held(x: OOMMatrix) -> sparse.csr_matrix:
    return ENGINE.collect(x, dense=False, what="scrublet_simulate_doublets")


def _rounds(x: OOMMatrix, n_sim: int) -> Iterator[tuple[int, int]]:
    """Yield runs of doublets whose parents may be held; all, where all cells may."""
    room = min(PARENTS, ACCOUNTANT.available_to_passes() // 2)
    nbytes = 2 * x.nbytes_in_memory  # blocks, and what they are put together to
    size = n_sim if nbytes <= room else max(int(room / nbytes * x.shape[0] / 2), 1)
    return ((first, min(first + size, n_sim)) for first in range(0, n_sim, max(size, 1)))


def _subsampled(x: OOMMatrix, parents: NDArray[np.int64], rate: float, draws: Draws) -> Doublets:
    """Draw from the counts of doublets. scanpy draws gene by gene, so that all must be at hand."""
    entries = x.nbytes_in_memory / (x.dtype.itemsize + 4)
    nbytes = entries * (x.dtype.itemsize + 4) * (1 + 4 * parents.shape[0] / max(x.shape[0], 1))
    advice = "Take fewer genes, or leave `synthetic_doublet_umi_subsampling` at 1, which takes less."
    require(nbytes, "Drawing from the counts of simulated doublets", advice)
    counts = sparse.csc_matrix(_held(x))
    totals = np.asarray(counts.sum(1)).squeeze()
    one, other = parents.T
    seed: Mapping[str, object] = draws if SCANPY_1_13 else {"random_seed": draws["random_state"]}
    drawn, of_drawn = _scanpy.subsample_counts(
        counts[one, :] + counts[other, :], rate=rate, original_totals=totals[one] + totals[other], **seed
    )
    return Doublets(as_oom(drawn), of_drawn, parents)


def embed(
    obs: OOMMatrix, sim: OOMMatrix, n_comps: int, random: RandomState, *, mean_center: bool, normalize_variance: bool
) -> tuple[NDArray[np.floating], NDArray[np.floating]]:
    """Return coordinates of cells and doublets along principal components of the cells.

    One pass for the moments, one for the Gram matrix, one for each projection.
    """
    centred, scaled = obs, sim
    if mean_center or normalize_variance:
        mean, std = _mean_std(obs)
        steps = []
        if mean_center:
            steps.append(ByColumn("subtract", mean, _DOUBLE))
        if normalize_variance:
            with np.errstate(divide="ignore"):
                steps.append(ByColumn("multiply", 1 / std, _DOUBLE))
        for step in steps:
            centred, scaled = centred.transform(step), scaled.transform(step)
    how = How(random, "arpack", zero_center=mean_center, dtype=COORDINATES, masked=False)
    fit = fit_components(centred, n_comps, how)
    projected = compute(scaled, RightProduct(fit.components.T, dtype=COORDINATES))
    return fit.x_pca.astype(COORDINATES, copy=False), projected


def _mean_std(x: OOMMatrix) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    n_rows = x.shape[0]
    known = ENGINE.statistics(x.transform(Cast(_DOUBLE)), "col_sum", "col_sumsq").known
    mean = known["col_sum"] / n_rows
    var = known["col_sumsq"] / n_rows - mean**2
    return mean, np.sqrt(var * (n_rows / (n_rows - 1) if n_rows != 1 else 1))


def score(scrub: Any, how: dict[str, Any]) -> None:
    """Score cells and doublets by how many doublets are among the nearest of all.

    scanpy holds a graph of all neighbours, found approximately. Where only numbers are asked for they are counted
    instead, exactly.
    """
    n_obs, n_sim = scrub.manifold_obs_.shape[0], scrub.manifold_sim_.shape[0]
    n = n_obs + n_sim
    k = round(how["n_neighbors"] * (1 + n_sim / float(n_obs)))
    graph_is_asked_for = how["use_approx_neighbors"] or how["get_doublet_neighbor_parents"]
    if graph_is_asked_for or how["knn_dist_metric"] != "euclidean" or k > n:
        advice = (
            "Call it on fewer cells, with a smaller `n_neighbors`, or without `use_approx_neighbors=True`, "
            "`get_doublet_neighbor_parents` and another `knn_dist_metric`: then no graph is held."
        )
        require(NEIGHBOR_NBYTES * n * k, f"scrublet's graph of {k} neighbors of {n} cells and doublets", advice)
        scrub.calculate_doublet_scores(
            use_approx_neighbors=how["use_approx_neighbors"],
            distance_metric=how["knn_dist_metric"],
            get_doublet_neighbor_parents=how["get_doublet_neighbor_parents"],
        )
        return
    start = logg.debug("computing neighbors")
    points = np.concatenate([scrub.manifold_obs_, scrub.manifold_sim_])
    counts = count_marked_neighbors(points, np.arange(n) >= n_obs, k)
    logg.debug("computed neighbors", time=start)
    scores, errors = _likelihood(counts, k, n_sim / float(n_obs), scrub.expected_doublet_rate, scrub.stdev_doublet_rate)
    scrub.doublet_scores_obs_, scrub.doublet_scores_sim_ = scores[:n_obs], scores[n_obs:]
    scrub.doublet_errors_obs_, scrub.doublet_errors_sim_ = errors[:n_obs], errors[n_obs:]


def _likelihood(
    counts: NDArray[np.int64], k: int, r: float, rho: float, se_rho: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return Scrublet's posterior (Wolock et al., 2019) of being a doublet, and its standard error."""
    q = (counts.astype(np.float64) + 1) / (float(k) + 2)
    denominator = 1 - rho - q * (1 - rho - rho / r)
    se_q = np.sqrt(q * (1 - q) / (float(k) + 3))
    spread = np.sqrt((se_q / q * (1 - rho)) ** 2 + (se_rho / rho * (1 - q)) ** 2)
    return q * rho / r / denominator, q * rho / r / denominator**2 * spread
