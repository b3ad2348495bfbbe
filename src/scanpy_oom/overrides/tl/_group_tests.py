"""The tests of :func:`scanpy.tl.rank_genes_groups`, on what one pass has gathered."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

import numpy as np
from scanpy import logging as logg
from scipy import stats

from ... import _scanpy
from ..._scanpy import SCANPY_1_12, SCANPY_1_13
from ...engine.compute import run
from ...engine.request import Request
from ...matrix.selection import normalize_axis_index
from ...matrix.transforms import Elementwise
from ...messages import warn_user
from ...reductions import GroupMoments, GroupRanks, GroupWelford
from ...reductions.extrema import ExtremaReduction

if TYPE_CHECKING:
    from collections.abc import Iterator

    import pandas as pd
    from anndata import AnnData
    from numpy.typing import NDArray

    from ...engine.reduction import Reduction
    from ...matrix import OOMMatrix

__all__ = ["GroupTests"]


class GroupTests(_scanpy.rank_genes):
    """scanpy's tests on statistics that one pass gathers for all groups.

    Parameters
    ----------
    adata, groups, groupby, mask_var, arguments
        As scanpy's class takes them.
    method
        Name of the test.
    mean_in_log_space
        Whether means are those of the values as they are, and not of their exponentials.
    """

    X: OOMMatrix
    var_names: pd.Index

    def __init__(
        self,
        adata: AnnData,
        groups: object,
        groupby: str,
        *,
        method: str,
        mask_var: np.ndarray | None,
        mean_in_log_space: bool = True,
        **arguments: object,
    ) -> None:
        super().__init__(adata, groups, groupby, mask_var=None, **arguments)
        self.method = method
        self.mask_var = mask_var
        if mask_var is not None:
            self.X = self.X.select(None, normalize_axis_index(mask_var, self.X.shape[1]))
            self.var_names = self.var_names[mask_var]
        self.averaged = self.X if mean_in_log_space else _exponentials(self.X, adata)
        self.n_groups = self.groups_masks_obs.shape[0]
        # cells of no selected group are a group of their own: they count among the rest
        self.codes = np.full(self.X.shape[0], self.n_groups, dtype=np.int64)
        for group, mask in enumerate(self.groups_masks_obs):
            self.codes[mask] = group

    def requests(self) -> list[Request]:
        """Ask for the statistics, and what kind of numbers there are."""
        n = self.n_groups + 1
        ranks: list[Reduction] = []
        if self.of_ranks:
            sums: Reduction = GroupMoments(self.codes, n)
            ranks = [GroupRanks(self.codes, n, self.ireference)]
        else:
            sums = (GroupWelford if SCANPY_1_12 else GroupMoments)(self.codes, n)
        if self.averaged is self.X:
            return [Request(self.X, [ExtremaReduction(), sums, *ranks])]
        return [Request(self.X, [ExtremaReduction(), *ranks]), Request(self.averaged, [sums])]

    def gather(self) -> None:
        """Make the pass."""
        (values, *found), *more = run(self.requests())
        self.statistics, *ranks = (*more[0], *found) if more else found
        self.ranks = ranks[0] if ranks else None
        self.is_count_data = values.all_whole and not values.any_negative

    @property
    def of_ranks(self) -> bool:
        """True if the test is one of ranks."""
        return self.method.startswith("wilcoxon")

    def _basic_stats(self, *, exponentiate_values: bool = False, need_var: bool = True) -> None:
        if SCANPY_1_12 and self.of_ranks:
            self._stats_by_means()
        elif SCANPY_1_12:
            self._stats_by_welford()
        else:
            self._stats_by_sums()

    def _stats_by_sums(self) -> None:
        """Compute as scanpy 1.11: sums of the group, and of all others."""
        k, moments = self.n_groups, self.statistics
        mean, var = moments.mean_var()
        self.means, self.vars = mean[:k], var[:k]
        self.pts = moments.nnz[:k] / moments.n[:k, None] if self.comp_pts else None
        if self.ireference is None:
            rest = moments.complement(k)
            self.means_rest, self.vars_rest = rest.mean_var()
            self.pts_rest = rest.nnz / rest.n[:, None] if self.comp_pts else None

    def _stats_by_means(self) -> None:
        """Compute as scanpy 1.12 without variances: means of all others are joined from the groups."""
        k, moments = self.n_groups, self.statistics
        mean = moments.total / np.maximum(moments.n, 1)[:, None]
        self.means, self.vars = mean[:k], None
        self.pts = moments.nnz[:k] / moments.n[:k, None] if self.comp_pts else None
        if self.ireference is None:
            self._derive_rest_stats(moments.n, mean, None, moments.nnz.astype(np.float64), k, need_var=False)

    def _stats_by_welford(self) -> None:
        """Compute as scanpy 1.12: running means; those of all others are joined from the groups."""
        k, found = self.n_groups, self.statistics
        n = found.n
        if self.ireference is None and (n == 1).any():
            groups = [str(group) for group in np.flatnonzero(n == 1)]
            warn_user(f"Group counts matches dof, resulting var for groups {groups} will be nan", RuntimeWarning)
        with np.errstate(invalid="ignore", divide="ignore"):  # a group of one cell has no variance
            var = found.var * (n / np.where(n > 1, n - 1, np.nan))[:, None]
        self.means, self.vars = found.mean[:k], var[:k]
        self.pts = found.nnz[:k] / n[:k, None] if self.comp_pts else None
        if self.ireference is None:
            m2 = var * (n[:, None] - 1)
            m2[n <= 1] = 0.0
            nnz = found.nnz.astype(np.float64)
            self._derive_rest_stats(n, found.mean, m2, nnz, k, need_var=True)

    def illico(self, *, tie_correct: bool) -> Iterator[tuple[int, NDArray[np.float64], NDArray[np.float64]]]:
        """Run the same test for a method that scanpy hands to another package, and has only with that package."""
        import_module("illico")
        return self.wilcoxon(tie_correct=tie_correct)

    def wilcoxon(self, *, tie_correct: bool) -> Iterator[tuple[int, NDArray[np.float64], NDArray[np.float64]]]:
        """Turn sums of ranks into scores and p-values, as scanpy does from ranks."""
        if not SCANPY_1_13:  # which does so itself
            self._basic_stats()
        assert self.ranks is not None
        sizes, n_cells = np.count_nonzero(self.groups_masks_obs, axis=1), self.X.shape[0]
        for group, n in enumerate(sizes):
            if group == self.ireference:
                continue
            m = n_cells - n if self.ireference is None else sizes[self.ireference]
            if self.ireference is not None and (n <= 25 or m <= 25):
                logg.hint("Few observations in a group for normal approximation (<=25). Lower test accuracy.")
            ties = self.ranks.ties if self.ireference is None else self.ranks.ties[group]
            correction = _tie_correction(ties, n + m) if tie_correct else 1
            with np.errstate(invalid="ignore", divide="ignore"):  # a column of equal values has no spread
                spread = np.sqrt(correction * n * m * (n + m + 1) / 12.0)
                scores = (self.ranks.sums[group] - n * ((n + m + 1) / 2.0)) / spread
            scores[np.isnan(scores)] = 0
            yield group, scores, 2 * stats.distributions.norm.sf(np.abs(scores))


def _exponentials(x: OOMMatrix, adata: AnnData) -> OOMMatrix:
    """Return the values before the logarithm that was taken, less one, in the dtype that scanpy has."""
    dtype = x.dtype if x.dtype.kind == "f" else np.dtype(np.float64)
    base = adata.uns.get("log1p", {}).get("base")
    if base is not None:
        dtype = np.dtype(np.float64)  # as the logarithm of the base
        x = x.transform(Elementwise("multiply", np.log(base), dtype))
    return x.transform(Elementwise("expm1", dtype=dtype))


def _tie_correction(ties: NDArray[np.float64], n: int) -> NDArray[np.float64]:
    """Return the correction of :func:`scipy.stats.tiecorrect`."""
    return 1.0 - ties / (float(n) ** 3 - n) if n >= 2 else np.ones_like(ties)
