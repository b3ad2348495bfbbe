"""Copies that loops leave: of single columns by columns, of parts of the rows by rows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ...errors import OOMError
from ..reduction import Everything
from .column_copy import copy_by_columns, is_loop, shows_single
from .rows import is_read_in_parts, whole

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from ...matrix import OOMMatrix
    from ..reduction import Reduction

    Run = Callable[[OOMMatrix, Reduction], Any]
    """Runs a pass that is no turn of a loop."""

__all__ = ["cache_for_parts", "copy_for_loop"]


def copy_for_loop(matrices: Sequence[OOMMatrix], run: Run, *, cache: bool) -> None:
    """Leave a copy for what reads single columns, or parts of the rows, one after the other.

    Parameters
    ----------
    matrices
        What a pass is about to read.
    run
        Runs a pass.
    cache
        Whether what is read may be cached.
    """
    if is_loop(matrices):
        copy_by_columns(matrices[0], run)
    elif cache and not shows_single(matrices):
        cache_for_parts(matrices, run)


def cache_for_parts(matrices: Sequence[OOMMatrix], run: Run) -> None:
    """Leave a copy of all rows where parts of them have taken about as many bytes as that takes."""
    if not is_read_in_parts(matrices):
        return
    lead = matrices[0]
    loop = lead.copies.loop
    with loop.lock:
        if not is_read_in_parts(matrices):  # another thread was here
            return
        try:
            run(whole(lead), Everything())
        except OOMError:  # of rows that are not asked for, perhaps: those that are speak for themselves
            loop.bytes_read = 0
