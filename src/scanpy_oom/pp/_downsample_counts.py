"""Drawing counts: :func:`scanpy.pp.downsample_counts`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from scanpy._utils import view_to_actual

from ..errors import UnsupportedOutOfMemory
from ..kernels import sorted_choice
from ..passes import ENGINE, DownsampleRows, DownsampleTotal, Request, SingleTotal, outline, run
from ..passes.budget import require
from ..passes.outline import Outline, Step
from ._compat import axis_sum_dtype

if TYPE_CHECKING:
    from collections.abc import Collection

    from anndata import AnnData
    from numpy.typing import NDArray

    from ..matrix import OOMMatrix

__all__ = ["downsample_counts", "plan_downsample_counts"]

_EXACT_SINGLE = 2**24
"""Up to this number sums of single-precision counts are exact."""


def downsample_counts(
    adata: AnnData,
    counts_per_cell: int | Collection[int] | None = None,
    total_counts: int | None = None,
    *,
    random_state: Any = 0,
    replace: bool = False,
    copy: bool = False,
) -> AnnData | None:
    """Downsample counts, drawn as scanpy draws them; they are kept in scratch space.

    See :func:`scanpy.pp.downsample_counts`.
    """
    _check_choice(counts_per_cell, total_counts)
    adata = adata.copy() if copy else adata
    x: OOMMatrix = adata.X
    if total_counts is not None:
        drawn = _of_all(x, int(total_counts), seed=random_state, replace=replace)
    else:
        targets = _targets(counts_per_cell, x.shape[0])
        drawn = run([Request(x, [_of_rows(x, targets, random_state, replace=replace)])])[0][0]
    view_to_actual(adata)
    adata.X = drawn
    return adata if copy else None


def plan_downsample_counts(
    adata: AnnData,
    counts_per_cell: int | Collection[int] | None = None,
    total_counts: int | None = None,
    *,
    random_state: Any = 0,
    replace: bool = False,
    **_: Any,
) -> Outline:
    """Plan :func:`downsample_counts`."""
    _check_choice(counts_per_cell, total_counts)
    x: OOMMatrix = adata.X
    if total_counts is None:
        targets = _targets(counts_per_cell, x.shape[0])
        return Outline([Step([Request(x, [_of_rows(x, targets, random_state, replace=replace)])])])
    nothing = np.empty(0, dtype=np.int64)
    steps = outline.statistics(x, "row_sum")
    return Outline([*steps, Step([Request(x, [DownsampleTotal(nothing, np.empty(0))])])])


def _check_choice(counts_per_cell: object, total_counts: object) -> None:
    if (total_counts is None) is (counts_per_cell is None):
        msg = "Must specify exactly one of `total_counts` or `counts_per_cell`."
        raise ValueError(msg)


def _targets(counts_per_cell: int | Collection[int] | None, n_rows: int) -> NDArray[np.int_]:
    if isinstance(counts_per_cell, int):
        return np.full(n_rows, counts_per_cell).astype(np.int_, copy=False)
    targets = np.asarray(counts_per_cell).astype(np.int_, copy=False)
    if len(targets) != n_rows:
        msg = (
            "If provided, 'counts_per_cell' must be either an integer, or "
            "coercible to an `np.ndarray` of length as number of observations"
            " by `np.asarray(counts_per_cell)`."
        )
        raise ValueError(msg)
    return targets


def _of_rows(x: OOMMatrix, targets: NDArray[np.int_], seed: Any, *, replace: bool) -> DownsampleRows:
    return DownsampleRows(targets, seed=seed, replace=replace, sum_dtype=axis_sum_dtype(x))


def _of_all(x: OOMMatrix, target: int, *, seed: Any, replace: bool) -> OOMMatrix:
    """Draw of all counts together: the numbers are drawn at once, and given to the rows in a pass."""
    row_sum = ENGINE.statistics(x, "row_sum").known["row_sum"]
    total = float(row_sum.sum())
    if total < target:
        return x
    starts: NDArray[np.float64] | None = np.append(0.0, np.cumsum(row_sum)[:-1])
    if x.dtype == np.float32 and total > _EXACT_SINGLE:
        rows = x.selection.rows
        if rows is not None and (np.diff(rows) < 0).any():
            reason = "scanpy's single-precision sums of so many counts depend on the order of rows, which was changed"
            raise UnsupportedOutOfMemory(reason)
        starts = None
        total = run([Request(x, [SingleTotal()])])[0][0]
    n_numbers = target if replace else 2 * int(total)
    require(
        8 * n_numbers,
        f"Drawing {target:,} of {int(total):,} counts at once",
        "Draw from each cell instead (`counts_per_cell=...`), which takes none.",
    )
    drawn = sorted_choice(seed, int(total), target, replace)
    return run([Request(x, [DownsampleTotal(drawn, starts)])])[0][0]
