"""The warning about rows without counts."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ...messages import warn_user
from ..sources.joined import below

if TYPE_CHECKING:
    from ...matrix import OOMMatrix

__all__ = ["report_zero_rows"]


def report_zero_rows(matrix: OOMMatrix) -> None:
    """Give scanpy's warning about cells without counts, of a matrix or what it is made of, once it is known."""
    for part in below(matrix):
        _report_zero_rows(part)


def _report_zero_rows(matrix: OOMMatrix) -> None:
    """Give scanpy's warning about cells without counts once their totals are known."""
    rows = slice(None) if matrix.selection.rows is None else matrix.selection.rows
    for totals in matrix.chain.totals:
        found = totals.values[rows]
        if not totals.zero_rows_reported and (found <= 0).any() and not np.isnan(found).any():
            totals.zero_rows_reported = True
            warn_user("Some cells have zero counts")
