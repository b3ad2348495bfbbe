"""Requests: a matrix and its reductions; steps: the requests of one pass."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from ..matrix import OOMMatrix
    from .reduction import Reduction

    Partials: TypeAlias = list[list[Any]]
    """Of each request, the partial result of each of its reductions."""

    Results: TypeAlias = list[list[Any]]
    """Of each request, the result of each of its reductions."""

    Assume: TypeAlias = Callable[[Sequence["Request"]], Results]
    """Makes results of requests where no pass is made."""

__all__ = ["CachePolicy", "Request", "Step"]


@dataclass(frozen=True, slots=True)
class Request:
    """A matrix, and the reductions that a pass computes of it.

    Parameters
    ----------
    matrix
        What to read. All requests of a pass share source and rows; columns and chains may differ.
    reductions
        What to accumulate.
    """

    matrix: OOMMatrix
    reductions: Sequence[Reduction]


@dataclass(frozen=True, slots=True)
class CachePolicy:
    """Permission to cache what is read, and the expectation that it will be read again."""

    cache: bool
    reuse: bool


@dataclass(frozen=True, slots=True)
class Step:
    """One pass, as an executor gets it.

    Parameters
    ----------
    requests
        What to compute. Their matrices share source and rows.
    cache
        Whether what is read may be cached.
    reuse
        Whether what is read will be read again: then it is cached, if it is a small part of the columns.
    is_turn
        Whether it may be one turn of a loop over columns, for which a copy by columns is made.
    assume
        Results with which a plan goes on. None if what follows depends on values: then the plan ends here.
    repeats
        Whether it comes once an iteration, so that there may be more of it.
    workspace
        Bytes that are taken meanwhile, beside blocks and partial results.
    """

    requests: Sequence[Request]
    cache: bool = True
    reuse: bool = False
    is_turn: bool = True
    assume: Assume | None = None
    repeats: bool = False
    workspace: int = 0
