"""Prediction of doublets: :func:`scanpy.pp.scrublet` and :func:`scanpy.pp.scrublet_simulate_doublets`."""

from __future__ import annotations

from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from anndata import AnnData
from scanpy import logging as logg
from scanpy.preprocessing._scrublet import _scrublet_call_doublets as call_in_memory
from scanpy.preprocessing._scrublet.core import Scrublet

from ..matrix import OOMMatrix
from ..passes import outline
from ..passes.budget import require
from ..passes.outline import Outline
from . import _scrublet_core as core
from ._compat import SCANPY_1_12, get_obs_rep
from ._highly_variable_genes import highly_variable_genes
from ._normalization import normalize_total
from ._simple import filter_cells, filter_genes, log1p

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["plan_scrublet_simulate_doublets", "scrublet", "scrublet_simulate_doublets"]

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
    knn_dist_metric: Any = "euclidean",
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
    random_state: Any = 0,
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
    if copy:
        adata = adata.copy()
    start = logg.info("Running Scrublet")
    observed = _slim(adata)

    def of_cells(obs: AnnData) -> AnnData:
        sim = adata_sim
        if sim is None:
            obs, sim = _preprocessed(
                obs,
                log_transform=log_transform,
                sim_doublet_ratio=sim_doublet_ratio,
                synthetic_doublet_umi_subsampling=synthetic_doublet_umi_subsampling,
                random_seed=random_state,
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
            random_state=random_state,
            verbose=verbose,
        )

    if batch_key is None:
        _annotate(adata, of_cells(observed))
    else:
        _annotate_by_batch(adata, observed, batch_key, of_cells)
    logg.info("    Scrublet finished", time=start)
    return adata if copy else None


_NO_SKIMAGE = (
    "`threshold` is None and thus scrublet requires `scikit-image`. "
    "Please install `scanpy[scrublet]` (or `scikit-image` directly) and try again."
    if SCANPY_1_12
    else "threshold is None and thus scrublet requires skimage, but skimage is not installed."
)


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
    adata: AnnData, observed: AnnData, batch_key: str, of_cells: Callable[[AnnData], AnnData]
) -> None:
    """Leave results of each batch by itself."""
    if batch_key not in adata.obs.columns:
        msg = (
            "`batch_key` must be a column of .obs in the input AnnData object,"
            f"but {batch_key!r} is not in {adata.obs.keys()!r}."
        )
        raise ValueError(msg)
    batches = np.unique(adata.obs[batch_key])
    scrubbed = [of_cells(observed[observed.obs[batch_key] == batch].copy()) for batch in batches]
    obs = pd.concat([one.obs for one in scrubbed])
    if SCANPY_1_12:
        obs = obs.astype(adata.obs.dtypes).reindex(_positions(adata)).set_axis(adata.obs_names)
    else:
        obs = obs.loc[adata.obs_names.values]
    adata.obs = obs
    of_batches = dict(zip(batches, [one.uns["scrublet"] for one in scrubbed], strict=True))
    adata.uns["scrublet"] = {"batches": of_batches, "batched_by": batch_key}


def _preprocessed(obs: AnnData, *, log_transform: bool, **how: Any) -> tuple[AnnData, AnnData]:
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
    sim = scrublet_simulate_doublets(obs, layer="raw", **how)
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
        return call_in_memory(adata_obs=_in_memory(obs), adata_sim=_in_memory(sim), **how)
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
            "random_state": how["random_state"],
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


def _scored(obs: AnnData, sim: AnnData, how: dict[str, Any]) -> Scrublet:
    """Embed cells and doublets, and score both; scanpy's object holds parameters and results, and no counts."""
    scrub = Scrublet(
        np.zeros((obs.n_obs, 1)),
        n_neighbors=how["n_neighbors"],
        expected_doublet_rate=how["expected_doublet_rate"],
        stdev_doublet_rate=how["stdev_doublet_rate"],
        random_state=how["random_state"],
    )
    scrub.doublet_parents_ = sim.obsm["doublet_parents"]
    logg.info(f"Embedding transcriptomes using {'PCA' if how['mean_center'] else 'Truncated SVD'}...")
    manifolds = core.embed(
        core.as_oom(obs.X),
        core.as_oom(sim.X),
        how["n_prin_comps"],
        scrub._random_state,
        mean_center=how["mean_center"],
        normalize_variance=how["normalize_variance"],
    )
    scrub.set_manifold(*manifolds)
    core.score(
        scrub,
        use_approx_neighbors=how["use_approx_neighbors"],
        metric=how["knn_dist_metric"],
        get_doublet_neighbor_parents=how["get_doublet_neighbor_parents"],
    )
    return scrub


def scrublet_simulate_doublets(
    adata: AnnData,
    *,
    layer: str | None = None,
    sim_doublet_ratio: float = 2.0,
    synthetic_doublet_umi_subsampling: float = 1.0,
    random_seed: Any = 0,
) -> AnnData:
    """Simulate doublets from the pairs of cells that scanpy draws; their counts are kept in scratch space.

    One pass, or several if the counts do not fit 134 MB (or half of the memory limit). Where counts are drawn from
    those of doublets, they are held in memory. See :func:`scanpy.pp.scrublet_simulate_doublets`.
    """
    x: OOMMatrix = get_obs_rep(adata, layer=layer)
    found = core.simulate(x, sim_doublet_ratio, synthetic_doublet_umi_subsampling, random_seed)
    sim = AnnData(found.counts)
    sim.obs["n_counts"] = found.totals
    sim.obsm["doublet_parents"] = found.parents
    sim.uns["scrublet"] = {"parameters": {"sim_doublet_ratio": sim_doublet_ratio}}
    return sim


def plan_scrublet_simulate_doublets(
    adata: AnnData, *, layer: str | None = None, sim_doublet_ratio: float | None = 2.0, **_: Any
) -> Outline:
    """Plan :func:`scrublet_simulate_doublets`, as if all cells were drawn."""
    x: OOMMatrix = get_obs_rep(adata, layer=layer)
    parents = list(core.parents_at_a_time(x, sim_doublet_ratio))
    reason = "" if len(parents) == 1 else "so many parents of doublets are not held at a time"
    steps = [outline.collection(x.select(np.arange(n)), "scrublet_simulate_doublets") for n in parents]
    n_sim = core.n_doublets(x, sim_doublet_ratio)
    return Outline(steps, reason, results=n_sim * (16 + np.dtype(np.float64).itemsize))
