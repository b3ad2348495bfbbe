"""Asking for passes: :func:`compute` and :func:`run` hand them to the executor of the moment."""

from __future__ import annotations

from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, TypedDict, Unpack

from .choice import chosen_executor
from .executor import LocalExecutor
from .request import Request, Step

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from ..matrix import OOMMatrix
    from .abc import Executor
    from .reduction import Reduction
    from .request import Assume, Results

__all__ = ["compute", "executing", "executor", "executor_in_place", "run", "run_alone"]


_HERE = LocalExecutor()
_OTHER: ContextVar[Executor | None] = ContextVar("executor", default=None)


def executor() -> Executor:
    """Return the executor of the moment: by default, the one that makes passes in this process."""
    return _OTHER.get() or chosen_executor() or _HERE


def executor_in_place() -> Executor | None:
    """Return the executor of :func:`executing`, whatever the engine; None outside of such a context."""
    return _OTHER.get()


@contextmanager
def executing(other: Executor) -> Iterator[None]:
    """Hand passes to another executor for the time of a context, in this thread."""
    token = _OTHER.set(other)
    try:
        yield
    finally:
        _OTHER.reset(token)


class How(TypedDict, total=False):
    """How to make a pass, by the names of :class:`~scanpy_oom.engine.request.Step`."""

    cache: bool
    reuse: bool
    is_turn: bool
    assume: Assume | None
    repeats: bool
    workspace: int


def run(requests: Sequence[Request], **how: Unpack[How]) -> Results:
    """Read the rows of one source once, and return the result of each reduction of each request.

    Parameters
    ----------
    requests
        What to compute. Their matrices share source and rows.
    how
        Further fields of :class:`~scanpy_oom.engine.request.Step`.

    Returns
    -------
    One list a request, one result a reduction.

    Raises
    ------
    ValueError
        If the matrices do not share source and rows.
    """
    lead = requests[0].matrix
    for request in requests[1:]:
        if request.matrix.source is not lead.source or request.matrix.selection.rows is not lead.selection.rows:
            msg = "The matrices of one pass share a source and its rows."
            raise ValueError(msg)
    return executor().run(Step(requests, **how))


def compute(x: OOMMatrix, *reductions: Reduction, **how: Unpack[How]) -> Any:
    """Compute reductions of one matrix in one pass.

    Parameters
    ----------
    x
        The matrix.
    reductions
        What to accumulate.
    how
        Further fields of :class:`~scanpy_oom.engine.request.Step`.

    Returns
    -------
    The result of one reduction, or a list of those of several.
    """
    (found,) = run([Request(x, reductions)], **how)
    return found[0] if len(reductions) == 1 else found


def run_alone(matrix: OOMMatrix, reduction: Reduction) -> Any:
    """Return the result of one reduction, of a pass that is no turn of a loop, but is made because of one."""
    return compute(matrix, reduction, is_turn=False)
