"""Matrices that code outside of overrides brings into memory: each is a call of the report, with its line."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

from scipy import sparse

from ... import messages
from ...settings import format_bytes
from .call import Measurement, is_counted_already
from .origins import note

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ...matrix import OOMMatrix
    from ...matrix.methods.materialize import Made

__all__ = ["note_read", "reading", "watched"]

T = TypeVar("T")


@contextmanager
def watched(operation: str, matrix: OOMMatrix) -> Iterator[Made]:
    """Measure an operation that brings a matrix into memory, unless it is part of a call that is said to do so.

    Parameters
    ----------
    operation
        What was asked for.
    matrix
        The matrix.
    """
    if is_counted_already():
        yield _as_it_is
        return
    place = messages.place()
    where = None if place is None else str(place)

    def made(values: T) -> T:
        note(values, operation if where is None else f"{operation} in {where}")
        call.reason = f"{format_bytes(_nbytes(values))} of {matrix.source.location}"
        if place is not None and place.library and place.line:
            call.reason += f", asked for by {place.library}"
        return values

    call = Measurement(operation, "materialised", f"the matrix of {matrix.source.location}", where)
    with call.running, call:
        yield made


@contextmanager
def reading(function: str, reason: str) -> Iterator[Made]:
    """Measure the reading of a file, or of a part of it, into memory, where all is to be left on disk.

    Parameters
    ----------
    function
        What reads it.
    reason
        Why it is read into memory.
    """
    place = messages.place()
    where = None if place is None else str(place)

    def made(values: T) -> T:
        note(values, function if where is None else f"{function} in {where}")
        return values

    call = Measurement(function, "materialised", f"read into memory: {reason}", where)
    with call.running, call:
        yield made


def note_read(function: str, adata: object) -> None:
    """Remember which line it was that read a file into memory."""
    place = messages.place()
    note(adata, function if place is None else f"{function} in {place}")


def _as_it_is(values: T) -> T:
    return values


def _nbytes(values: Any) -> int:
    if not sparse.issparse(values):
        return int(values.nbytes)
    return int(values.data.nbytes + values.indices.nbytes + values.indptr.nbytes)
