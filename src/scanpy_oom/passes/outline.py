"""What an override says of a call beforehand: the passes that it would make, and the size of what it leaves."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from .collect import CollectDense, CollectSparse
from .moments import AxisStatistics
from .run import Request

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..matrix import OOMMatrix

__all__ = ["Outline", "Step", "collection", "statistics"]


@dataclass(frozen=True, slots=True)
class Step:
    """One pass that is to come.

    Parameters
    ----------
    requests, stage, reuse
        Arguments of :func:`~scanpy_oom.passes.run`.
    repeats
        Whether it comes once an iteration, so that there may be more of it.
    workspace
        Bytes that are taken meanwhile, beside blocks and partial results.
    """

    requests: Sequence[Request]
    stage: bool = True
    reuse: bool = False
    repeats: bool = False
    workspace: int = 0


@dataclass(frozen=True, slots=True)
class Outline:
    """What a call would do.

    Parameters
    ----------
    steps
        Its passes, in order.
    reason
        Why there are none, or why it takes these, as a clause.
    results
        Bytes of what it leaves with the user.
    """

    steps: Sequence[Step]
    reason: str = ""
    results: int = 0


def collection(matrix: OOMMatrix, what: str) -> Step:
    """Bring `matrix` into memory, as :meth:`~scanpy_oom.passes.ThreadsEngine.collect`."""
    reduction = CollectDense(what) if matrix.is_dense else CollectSparse(what)
    return Step([Request(matrix, [reduction])], workspace=matrix.nbytes_in_memory)


def statistics(matrix: OOMMatrix, *names: str) -> list[Step]:
    """Find the named statistics, as :meth:`~scanpy_oom.passes.ThreadsEngine.statistics`; nothing if they are known."""
    missing = [name for name in names if name not in matrix.statistics.known]
    if not missing:
        return []
    few = matrix.statistics.removed_rows(missing)
    if few is not None:
        return [Step([Request(few, [AxisStatistics()])], stage=False)]
    return [Step([Request(matrix, [AxisStatistics()])])]
