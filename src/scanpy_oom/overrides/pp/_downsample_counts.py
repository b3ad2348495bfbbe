"""Drawing counts: :func:`scanpy.pp.downsample_counts`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ..._scanpy import SCANPY_1_13
from ...engine.budget import require
from ...engine.compute import compute
from ...engine.explain import plan
from ...errors import UnsupportedOutOfMemory
from ...queries.answers import ENGINE
from ...reductions import DownsampleRows, DownsampleTotal, RunningSum, sorted_draws
from ._compat import axis_sum_dtype, draws_with, put_back, set_x

if TYPE_CHECKING:
    from collections.abc import Collection

    from anndata import AnnData
    from numpy.typing import NDArray

    from ..._scanpy import RNG, Draws, Seed
    from ...matrix import OOMMatrix

__all__ = ["downsample_counts"]


def downsample_counts(
    adata: AnnData,
    counts_per_cell: int | Collection[int] | None = None,
    total_counts: int | None = None,
    *,
    random_state: Seed = 0,
    rng: RNG = None,
    replace: bool = False,
    copy: bool = False,
) -> AnnData | None:
    """Downsample counts, drawn as scanpy draws them; they are kept in scratch space.

    See :func:`scanpy.pp.downsample_counts`.
    """
    _check_choice(counts_per_cell, total_counts)
    adata = adata.copy() if copy else adata
    x: OOMMatrix = adata.X
    draws = draws_with(random_state, rng)
    if x.dtype == np.float16:
        reason = "scanpy's kernel takes no half precision"
        raise UnsupportedOutOfMemory(reason)
    if total_counts is not None:
        drawn = _of_all(x, int(total_counts), draws, replace=replace)
    else:
        targets = _targets(counts_per_cell, x.shape[0])
        drawn = compute(x, _of_rows(x, targets, draws, replace=replace))
    if adata.is_view or x.format_in_memory == "csc":
        set_x(adata, drawn)
    else:
        put_back(adata, x, drawn, in_place=True)
    return adata if copy else None


def _check_choice(counts_per_cell: object, total_counts: object) -> None:
    if (total_counts is None) is (counts_per_cell is None):
        msg = "Must specify exactly one of `total_counts` or `counts_per_cell`."
        raise ValueError(msg)


def _targets(counts_per_cell: int | Collection[int] | None, n_rows: int) -> NDArray[np.int_]:
    if isinstance(counts_per_cell, int):
        return np.full(n_rows, counts_per_cell).astype(np.int_, copy=False)
    targets = np.asarray(counts_per_cell).astype(np.int_, copy=False)
    if targets.shape != (n_rows,) if SCANPY_1_13 else len(targets) != n_rows:
        msg = (
            "If provided, 'counts_per_cell' must be either an integer, or "
            "coercible to an `np.ndarray` of length as number of observations"
            " by `np.asarray(counts_per_cell)`."
        )
        raise ValueError(msg)
    return targets


def _of_rows(x: OOMMatrix, targets: NDArray[np.int_], draws: Draws, *, replace: bool) -> DownsampleRows:
    rows = x.selection.rows
    if SCANPY_1_13 and not _starts_anew(draws) and rows is not None and (np.diff(rows) < 0).any():
        reason = "a generator gives its numbers to the cells in their order, which is not that of the file"
        raise UnsupportedOutOfMemory(reason)
    return DownsampleRows(targets, draws, replace=replace, sum_dtype=axis_sum_dtype(x), in_order=SCANPY_1_13)


def _starts_anew(draws: Draws) -> bool:
    """Return whether each cell is drawn from the same seed, as scanpy does with a `random_state`."""
    return hasattr(draws["rng"], "arg") and draws["rng"].arg is not None


def _sums_exactly(row_sum: NDArray[np.float64], dtype: np.dtype) -> bool:
    """Return whether a running total in this type is not rounded: that of whole numbers which are not too large."""
    return bool(row_sum.sum() <= 2.0 ** (np.finfo(dtype).nmant + 1) and (row_sum == np.floor(row_sum)).all())


def _of_all(x: OOMMatrix, target: int, draws: Draws, *, replace: bool) -> OOMMatrix:
    """Draw of all counts together: the numbers are drawn at once, and given to the rows in a pass."""
    numbers = plan.or_assume(
        lambda: _numbers(x, target, draws, replace=replace), lambda: (np.empty(0, int), np.empty(0))
    )
    return x if numbers is None else compute(x, DownsampleTotal(*numbers))


def _numbers(
    x: OOMMatrix, target: int, draws: Draws, *, replace: bool
) -> tuple[NDArray[np.int64], NDArray[np.float64] | None] | None:
    """Return the counts that are drawn, and with which the rows start; None if all counts stay."""
    row_sum = ENGINE.statistics(x, "row_sum").known["row_sum"]
    total = float(row_sum.sum())
    if not np.isfinite(total):
        reason = "the total of the counts is no number, of which scanpy's kernel makes what it can"
        raise UnsupportedOutOfMemory(reason)
    if total < target:
        return None
    starts: NDArray[np.float64] | None = np.append(0.0, np.cumsum(row_sum)[:-1])
    if x.dtype.kind == "f" and not _sums_exactly(row_sum, x.dtype):
        rows = x.selection.rows
        if rows is not None and (np.diff(rows) < 0).any():
            reason = "scanpy's running total is rounded at each count in the order of rows, which was changed"
            raise UnsupportedOutOfMemory(reason)
        starts = None
        total = compute(x, RunningSum())
    with np.errstate(invalid="ignore"):
        n_counts = int(np.float64(total).astype(np.int64))  # as the kernel does: of infinity there is no count to draw
    n_numbers = target if replace else 2 * n_counts
    require(
        8 * n_numbers,
        f"Drawing {target:,} of {n_counts:,} counts at once",
        "Draw from each cell instead (`counts_per_cell=...`), which takes none.",
    )
    plan.end()
    return sorted_draws(draws, n_counts, target, replace=replace), starts
