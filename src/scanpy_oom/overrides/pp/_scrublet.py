"""Prediction of doublets: :func:`scanpy.pp.scrublet` and :func:`scanpy.pp.scrublet_simulate_doublets`."""

from __future__ import annotations

from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from anndata import AnnData
from scanpy import logging as logg

from ... import _scanpy
from ..._scanpy import SCANPY_1_12, SCANPY_1_13
from ...engine.budget import require
from ...errors import UnsupportedOutOfMemory
from ...matrix import OOMMatrix
from . import _scrublet_core as core
from ._compat import draws_with, get_obs_rep
from ._highly_variable_genes import highly_variable_genes
from ._normalization import normalize_total
from ._simple import filter_cells, filter_genes, log1p

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from ..._scanpy import RNG, Draws, Seed

__all__ = ["scrublet", "scrublet_simulate_doublets"]

SMALL = 2**28
"""Bytes of cells and doublets, as an array, that go to scanpy's own function: scores are then scanpy's to the last bit,
which those that follow from approximate neighbours are not otherwise."""

SMALL_GRAPH = 2**23
"""Neighbours of all cells and doublets that go there."""

_COPIES = 4
"""Of that array, which scanpy's own function holds at a time."""


def scrublet(  # noqa: PLR0913
    adata: AnnData,
    adata_sim: AnnData | None = None,
    *,
    batch_key: str | None = None,
    sim_doublet_ratio: float = 2.0,
    expected_doublet_rate: float = 0.05,
    stdev_doublet_rate: float = 0.02,
    synthetic_doublet_umi_subsampling: float = 1.0,
    knn_dist_metric: str | Callable[..., float] = "euclidean",
    normalize_variance: bool = True,
    log_transform: bool = False,
    mean_center: bool = True,
    n_prin_comps: int = 30,
    use_approx_neighbors: bool | None = None,
    get_doublet_neighbor_parents: bool = False,
    n_neighbors: int | None = None,
    threshold: float | None = None,
    verbose: bool = True,
    copy: bool = False,
    random_state: Seed = 0,
    rng: RNG = None,
) -> AnnData | None:
    """Predict doublets, with scanpy's simulated doublets kept in scratch space.

    With few cells, the selected genes alone go to scanpy's own function. With many (some 10,000), components are those
    of the exact covariance, and neighbours are counted exactly where scanpy finds them approximately and holds a graph:
    the number of comparisons grows with the square of that of the cells, as far as these are not apart. A graph is
    still held, if it fits the memory limit, with `use_approx_neighbors=True`, `get_doublet_neighbor_parents` or
    another metric than the Euclidean. See :func:`scanpy.pp.scrublet`.
    """
    if threshold is None and not find_spec("skimage"):
        raise ValueError(_NO_SKIMAGE)
    if adata_sim is None:
        _leave_small_arrays(adata, sim_doublet_ratio)
    if copy:
        adata = adata.copy()
    start = logg.info("Running Scrublet")
    observed = _slim(adata)

    def of_cells(obs: AnnData, draws: Draws) -> AnnData:
        sim = adata_sim
        if sim is None:
            obs, sim = _preprocessed(
                obs,
                log_transform=log_transform,
                sim_doublet_ratio=sim_doublet_ratio,
                synthetic_doublet_umi_subsampling=synthetic_doublet_umi_subsampling,
                draws=draws,
            )
        return _call_doublets(
            obs,
            sim,
            n_neighbors=round(0.5 * np.sqrt(obs.shape[0])) if n_neighbors is None else n_neighbors,
            expected_doublet_rate=expected_doublet_rate,
            stdev_doublet_rate=stdev_doublet_rate,
            mean_center=mean_center,
            normalize_variance=normalize_variance,
            n_prin_comps=n_prin_comps,
            use_approx_neighbors=use_approx_neighbors,
            knn_dist_metric=knn_dist_metric,
            get_doublet_neighbor_parents=get_doublet_neighbor_parents,
            threshold=threshold,
            verbose=verbose,
            **draws,
        )

    draws = draws_with(random_state, rng)
    if batch_key is None:
        _annotate(adata, of_cells(observed, draws))
    else:
        _annotate_by_batch(adata, observed, batch_key, of_cells, draws)
    logg.info("    Scrublet finished", time=start)
    return adata if copy else None


_NO_SKIMAGE = (
    "`threshold` is None and thus scrublet requires `scikit-image`. "
    "Please install `scanpy[scrublet]` (or `scikit-image` directly) and try again."
    if SCANPY_1_12
    else "threshold is None and thus scrublet requires skimage, but skimage is not installed."
)


def _leave_small_arrays(adata: AnnData, ratio: float | None) -> None:
    """Leave arrays that are small, with their doublets, to scanpy.

    It sums them up in their own precision, and a last bit may decide which of two neighbours is the nearer.
    """
    nbytes = 8 * adata.n_obs * adata.n_vars * (1 + (2.0 if ratio is None else ratio))
    if isinstance(adata.X, OOMMatrix) and adata.X.is_dense and nbytes <= SMALL:
        reason = "of a small array, totals of cells are rounded as scanpy rounds them"
        raise UnsupportedOutOfMemory(reason)


def _slim(adata: AnnData) -> AnnData:
    """Return what is needed of `adata`; with scanpy 1.12, cells are numbered, since names may repeat."""
    uns = {"log1p": adata.uns["log1p"]} if "log1p" in adata.uns else {}
    slim = AnnData(adata.X, obs=adata.obs.copy(), var=pd.DataFrame(index=adata.var_names), uns=uns)
    if SCANPY_1_12:
        slim.obs_names = _positions(adata)
    return slim


def _positions(adata: AnnData) -> pd.Index:
    return pd.RangeIndex(adata.n_obs).astype(str)


def _annotate(adata: AnnData, scrubbed: AnnData) -> None:
    """Leave results with the cells; those that were filtered out have none."""
    for name in ("doublet_score", "predicted_doublet"):
        found = scrubbed.obs[name]
        adata.obs[name] = found.reindex(_positions(adata)).to_numpy() if SCANPY_1_12 else found
    adata.uns["scrublet"] = scrubbed.uns["scrublet"]


def _annotate_by_batch(
    adata: AnnData,
    observed: AnnData,
    batch_key: str,
    of_cells: Callable[[AnnData, Draws], AnnData],
    draws: Draws,
) -> None:
    """Leave results of each batch by itself."""
    if batch_key not in adata.obs.columns:
        msg = (
            "`batch_key` must be a column of .obs in the input AnnData object,"
            f"but {batch_key!r} is not in {adata.obs.keys()!r}."
        )
        raise ValueError(msg)
    batches = np.unique(adata.obs[batch_key])
    of_batch = core.draws_of_each(draws, len(batches))
    scrubbed = [
        of_cells(observed[observed.obs[batch_key] == batch].copy(), draws)
        for batch, draws in zip(batches, of_batch, strict=True)
    ]
    obs = pd.concat([one.obs for one in scrubbed])
    if SCANPY_1_12:
        obs = obs.astype(adata.obs.dtypes).reindex(_positions(adata)).set_axis(adata.obs_names)
    else:
        obs = obs.loc[adata.obs_names.values]
    adata.obs = obs
    of_batches = dict(zip(batches, [one.uns["scrublet"] for one in scrubbed], strict=True))
    adata.uns["scrublet"] = {"batches": of_batches, "batched_by": batch_key}


def _preprocessed(obs: AnnData, *, log_transform: bool, draws: Draws, **how: Any) -> tuple[AnnData, AnnData]:
    """Select cells and genes, simulate doublets, and normalise both alike."""
    filter_genes(obs, min_cells=3)
    filter_cells(obs, min_genes=3)
    obs.layers["raw"] = obs.X.copy()
    normalize_total(obs)
    obs.layers["log1p"] = obs.X.copy()
    log1p(obs, layer="log1p")
    highly_variable_genes(obs, layer="log1p")
    del obs.layers["log1p"]
    obs = obs[:, obs.var["highly_variable"]].copy()
    seed: Mapping[str, Any] = draws if SCANPY_1_13 else {"random_seed": draws["random_state"]}
    sim = scrublet_simulate_doublets(obs, layer="raw", **how, **seed)
    del obs.layers["raw"]
    for adata in (obs, sim):
        if log_transform:
            log1p(adata)
        normalize_total(adata, target_sum=1e6)
    return obs, sim


def _call_doublets(obs: AnnData, sim: AnnData, **how: Any) -> AnnData:
    """Return `obs` with the results for its cells."""
    n = obs.n_obs + sim.n_obs
    k = how["n_neighbors"] * (1 + sim.n_obs / max(obs.n_obs, 1))
    nbytes = 8 * n * obs.n_vars
    if nbytes <= SMALL and n * k <= SMALL_GRAPH:
        require(_COPIES * nbytes, "scrublet on genes selected", "Call it on fewer cells.")
        return _scanpy.scrublet_call_doublets(adata_obs=_in_memory(obs), adata_sim=_in_memory(sim), **how)
    scrub = _scored(obs, sim, how)
    scrub.call_doublets(threshold=how["threshold"], verbose=how["verbose"])
    ratio = sim.uns.get("scrublet", {}).get("parameters", {}).get("sim_doublet_ratio", None)
    found = {
        "doublet_scores_sim": scrub.doublet_scores_sim_,
        "doublet_parents": sim.obsm["doublet_parents"],
        "parameters": {
            "expected_doublet_rate": how["expected_doublet_rate"],
            "sim_doublet_ratio": ratio,
            "n_neighbors": how["n_neighbors"],
            **core.recorded(how),
        },
    }
    obs.obs["doublet_score"] = scrub.doublet_scores_obs_
    has_threshold = hasattr(scrub, "threshold_")
    if has_threshold:
        found["threshold"] = scrub.threshold_
    obs.obs["predicted_doublet"] = scrub.predicted_doublets_ if has_threshold else False
    if how["get_doublet_neighbor_parents"]:
        found["doublet_neighbor_parents"] = scrub.doublet_neighbor_parents_
    obs.uns["scrublet"] = found
    return obs


def _in_memory(adata: AnnData) -> AnnData:
    """Return `adata` with the values of X, and of no other matrix, in memory."""
    x = adata.X.to_memory() if isinstance(adata.X, OOMMatrix) else adata.X
    return AnnData(x, obs=adata.obs, obsm=dict(adata.obsm), uns=adata.uns)


def _scored(obs: AnnData, sim: AnnData, how: dict[str, Any]) -> Any:
    """Embed cells and doublets, and score both; scanpy's object holds parameters and results, and no counts."""
    draws = core.draws_among(how) if SCANPY_1_13 else {"random_state": core.random_state(how)}
    scrub = _scanpy.scrublet(
        np.zeros((obs.n_obs, 1)),
        n_neighbors=how["n_neighbors"],
        expected_doublet_rate=how["expected_doublet_rate"],
        stdev_doublet_rate=how["stdev_doublet_rate"],
        **draws,
    )
    scrub.doublet_parents_ = sim.obsm["doublet_parents"]
    logg.info(f"Embedding transcriptomes using {'PCA' if how['mean_center'] else 'Truncated SVD'}...")
    manifolds = core.embed(
        core.as_oom(obs.X),
        core.as_oom(sim.X),
        how["n_prin_comps"],
        core.random_state(how if SCANPY_1_13 else draws),  # before scanpy 1.13 the one with which `scrub` goes on
        mean_center=how["mean_center"],
        normalize_variance=how["normalize_variance"],
    )
    scrub.set_manifold(*manifolds)
    core.score(scrub, how)
    return scrub


def scrublet_simulate_doublets(
    adata: AnnData,
    *,
    layer: str | None = None,
    sim_doublet_ratio: float = 2.0,
    synthetic_doublet_umi_subsampling: float = 1.0,
    random_seed: Seed = 0,
    rng: RNG = None,
) -> AnnData:
    """Simulate doublets from the pairs of cells that scanpy draws; their counts are kept in scratch space.

    One pass, or several if the counts do not fit 134 MB (or half of the memory limit). Where counts are drawn from
    those of doublets, they are held in memory. See :func:`scanpy.pp.scrublet_simulate_doublets`.
    """
    x: OOMMatrix = get_obs_rep(adata, layer=layer)
    found = core.simulate(x, sim_doublet_ratio, synthetic_doublet_umi_subsampling, draws_with(random_seed, rng))
    sim = AnnData(found.counts)
    sim.obs["n_counts"] = found.totals
    sim.obsm["doublet_parents"] = found.parents
    sim.uns["scrublet"] = {"parameters": {"sim_doublet_ratio": sim_doublet_ratio}}
    return sim
