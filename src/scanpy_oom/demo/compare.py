"""Comparison of two runs of the workflow: which results are compared, and how far they may differ."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import anndata as ad
import numpy as np
import pandas as pd
from sklearn.metrics import adjusted_rand_score

from ..bench.agreement import smallest_correlation

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

__all__ = ["Check", "compare_results"]

MIN_CORRELATION = 0.9999  # of a principal component; what is exact differs by rounding alone
MIN_RAND_INDEX = 0.95  # rounding may move single cells between clusters
MIN_SHARED_MARKERS = 0.9
N_MARKERS = 10


@dataclass(frozen=True)
class Check:
    """One thing that was compared: what, how it was judged, and whether it agrees."""

    what: str
    found: str
    agrees: bool


def compare_results(memory: Path, oom: Path, groups: str | None) -> list[Check]:
    """Compare the `result.h5ad` of two runs.

    Parameters
    ----------
    memory, oom
        The files.
    groups
        Column of obs whose groups were characterised by marker genes.
    """
    return list(_checks(ad.read_h5ad(memory), ad.read_h5ad(oom), groups))


def _checks(a: ad.AnnData, b: ad.AnnData, groups: str | None) -> Iterator[Check]:
    yield _check_names("cells that are kept", a.obs_names, b.obs_names)
    yield _check_names("highly variable genes", a.var_names, b.var_names)
    yield _check_keys(a, b)
    if not (a.obs_names.equals(b.obs_names) and a.var_names.equals(b.var_names)):
        return  # the rest would compare unlike with unlike
    yield _check_numbers(a, b)
    yield _check_components(a.obsm["X_pca"], b.obsm["X_pca"])
    if "leiden" in a.obs and "leiden" in b.obs:
        index = adjusted_rand_score(a.obs["leiden"], b.obs["leiden"])
        found = f"adjusted Rand index {index:.3f} (at least {MIN_RAND_INDEX})"
        yield Check("clusters", found, bool(index >= MIN_RAND_INDEX))
    if groups and all("rank_genes_groups" in x.uns for x in (a, b)):
        yield _check_markers(a, b, groups)


def _check_names(what: str, a: pd.Index, b: pd.Index) -> Check:
    if a.equals(b):
        return Check(what, f"the same {len(a):,}", agrees=True)
    return Check(what, f"{len(a):,} and {len(b):,}, of which {len(a.intersection(b)):,} in both", agrees=False)


def _check_keys(a: ad.AnnData, b: ad.AnnData) -> Check:
    slots = ("obs", "var", "uns", "obsm", "varm")
    differing = [
        f"{slot}: {', '.join(sorted(different))}"
        for slot in slots
        if (different := set(getattr(a, slot).keys()) ^ set(getattr(b, slot).keys()))
    ]
    found = f"only on one side in {'; '.join(differing)}" if differing else "the same names"
    return Check(f"keys of {', '.join(slots)}", found, agrees=not differing)


def _check_numbers(a: ad.AnnData, b: ad.AnnData) -> Check:
    """Compare what is computed per cell and per gene: quality control, means, dispersions."""
    differing, total = [], 0
    for slot in ("obs", "var"):
        left, right = getattr(a, slot), getattr(b, slot)
        for column in left.columns.intersection(right.columns):
            if pd.api.types.is_numeric_dtype(left[column]):
                total += 1
                if not np.allclose(left[column], right[column], rtol=1e-4, atol=1e-6, equal_nan=True):
                    differing.append(column)
    found = f"differ: {', '.join(differing)}" if differing else f"{total} columns equal to 1e-4"
    return Check("numbers in obs and var", found, agrees=not differing)


def _check_components(a: np.ndarray, b: np.ndarray) -> Check:
    what = "principal components"
    if a.shape != b.shape:
        return Check(what, f"{a.shape[1]} and {b.shape[1]}", agrees=False)
    least = smallest_correlation(a.astype(float), b.astype(float))
    found = f"smallest |r| of {a.shape[1]} is {least:.6f} (at least {MIN_CORRELATION})"
    return Check(what, found, least >= MIN_CORRELATION)


def _check_markers(a: ad.AnnData, b: ad.AnnData, groups: str) -> Check:
    """Compare the top genes of each cluster with those of the cluster that has most of its cells."""
    markers = [pd.DataFrame(x.uns["rank_genes_groups"]["names"]).head(N_MARKERS) for x in (a, b)]
    counterpart = pd.crosstab(a.obs[groups], b.obs[groups]).idxmax(axis=1)
    shared = [len(set(markers[0][group]) & set(markers[1][other])) / N_MARKERS for group, other in counterpart.items()]
    share = float(np.mean(shared))
    found = f"{share:.1%} of the top {N_MARKERS} genes of {len(shared)} groups (at least {MIN_SHARED_MARKERS:.0%})"
    return Check("marker genes", found, share >= MIN_SHARED_MARKERS)
