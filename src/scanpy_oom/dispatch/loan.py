"""Running scanpy's own function on matrices that are brought into memory for the time of the call."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
from anndata import AnnData
from isal import isal_zlib
from scipy import sparse

from ..matrix import OOMMatrix
from ..passes.budget import announce, require
from . import slots

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from .gate import Used

__all__ = ["Loan", "in_memory"]


class Loan:
    """The arguments with which scanpy's own function is to be called, and a place for what it returns."""

    def __init__(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        self.args = args
        self.kwargs = kwargs
        self.result: Any = None


@contextmanager
def in_memory(
    name: str,
    used: Sequence[Used],
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    reason: str,
    advice: str = "Call it on fewer cells or genes.",
) -> Iterator[Loan]:
    """Lend matrices to a call.

    Within the context each AnnData has them in memory; all its other matrices stay as they are. At the end those that
    the call left unchanged are on disk again, in the AnnData and in what the call returned. If the call fails, each
    AnnData is as it was.

    Parameters
    ----------
    name
        The function, as users call it.
    used
        The matrices.
    args, kwargs
        The arguments of the call.
    reason
        Why it is not run out of memory.
    advice
        What to do where the matrices do not fit.

    Raises
    ------
    MemoryBudgetExceeded
        If the matrices take more than ``settings.memory_limit``.
    """
    _announce(name, used, reason, advice)
    by_holder: dict[int, list[Used]] = {}
    for item in used:
        by_holder.setdefault(id(item.holder), []).append(item)
    lent = [_lender(items) for items in by_holder.values()]
    try:
        for one in lent:
            one.give()
        substitutes = {id(one.holder): one.substitute for one in lent}
        loan = Loan(
            tuple(substitutes.get(id(value), value) for value in args),
            {key: substitutes.get(id(value), value) for key, value in kwargs.items()},
        )
        yield loan
        for one in lent:
            one.settle()
    except BaseException:
        for one in lent:
            one.undo()
        raise
    loan.result = _on_disk_again(loan.result, lent)


def _announce(name: str, used: Sequence[Used], reason: str, advice: str) -> None:
    """Make sure that the matrices fit in memory, and say once for each function that they are brought there."""
    what = " and ".join(f"adata.{_attribute(item.slot)}" if item.slot else "the matrix" for item in used)
    nbytes = sum(item.matrix.nbytes_in_memory for item in used)
    require(nbytes, f"{name}, which needs {what} in memory ({reason}),", advice)
    announce(name, what, nbytes, reason)


def _attribute(slot: str) -> str:
    if slot.startswith("layers/"):
        return f"layers[{slot.removeprefix('layers/')!r}]"
    return slot.replace("/", ".")


class _Lender:
    """Lends matrices of one AnnData.

    The function works on the AnnData itself, so that whatever else it sets stays where users see it; a copy of all but
    the matrices on disk is kept for the case that it fails.
    """

    def __init__(self, items: Sequence[Used]) -> None:
        self.holder: Any = items[0].holder
        self.substitute = self.holder
        self.matrices = {item.slot: item.matrix for item in items}
        self.fingerprints: dict[str, _Fingerprint] = {}
        self._before: AnnData | None = None

    def give(self) -> None:
        """Put the matrices in memory."""
        self._before = self.holder.copy()
        self._fill(self.holder)

    def settle(self) -> None:
        """Put the matrices that were not changed back on disk."""
        self.put_back(self.holder)

    def undo(self) -> None:
        """Make the AnnData what it was."""
        if self._before is not None:
            self.holder.__init__(self._before)

    def _fill(self, adata: AnnData) -> None:
        for slot, matrix in self.matrices.items():
            values = matrix.to_memory()
            self.fingerprints[slot] = _fingerprint(values)
            slots.put(adata, slot, values)

    def put_back(self, adata: AnnData) -> bool:
        """Put on disk again what `adata` holds unchanged of the lent matrices; tell whether that is all of them."""
        lent = self.fingerprints.items()
        unchanged = [slot for slot, before in lent if _fingerprint(slots.get(adata, slot)) == before]
        for slot in unchanged:
            slots.put(adata, slot, self.matrices[slot])
        return len(unchanged) == len(self.matrices)


class _ViewLender(_Lender):
    """Lends to a view.

    The function gets a view of an AnnData made of what the view shows. So it does, and says, what it does with views.
    """

    def give(self) -> None:
        self._shown = self.holder.copy()
        self._fill(self._shown)
        self.substitute = self._shown[:]

    def settle(self) -> None:
        # A view that is written to becomes an AnnData of its own. anndata 0.12 may also write through it.
        through = not self.put_back(self._shown)
        if not self.substitute.is_view:
            self.put_back(self.substitute)
            self.holder.__init__(self.substitute)
        elif through:
            self.holder.__init__(self._shown)

    def undo(self) -> None:
        pass


class _MatrixLender(_Lender):
    """Lends a matrix that was given by itself."""

    def give(self) -> None:
        self.substitute = self.holder.to_memory()

    def settle(self) -> None:
        pass

    def undo(self) -> None:
        pass

    def put_back(self, adata: AnnData) -> bool:
        return True


def _lender(items: Sequence[Used]) -> _Lender:
    holder = items[0].holder
    if isinstance(holder, OOMMatrix):
        return _MatrixLender(items)
    return _ViewLender(items) if holder.is_view else _Lender(items)


def _on_disk_again(result: Any, lent: Sequence[_Lender]) -> Any:
    """Return what a function returned, with the matrices that it did not change on disk."""
    for one in lent:
        if result is one.substitute and isinstance(result, AnnData):
            return one.holder
    for value in result if isinstance(result, tuple | list) else [result]:
        if isinstance(value, AnnData) and not value.is_view:
            for one in lent:
                one.put_back(value)
    return result


_Fingerprint = tuple[Any, ...] | None


def _fingerprint(values: Any) -> _Fingerprint:
    """Return what tells whether a matrix in memory has changed; `None` for what is no such matrix."""
    arrays: tuple[np.ndarray[Any, Any], ...]
    if sparse.issparse(values) and values.format in {"csr", "csc"}:
        kind, arrays = values.format, (values.data, values.indices, values.indptr)
    elif isinstance(values, np.ndarray):
        kind, arrays = "array", (values,)
    else:
        return None
    return kind, values.shape, *(_checksum(array) for array in arrays)


def _checksum(array: np.ndarray[Any, Any]) -> tuple[Any, ...]:
    content = np.asarray(array).ravel(order="K").view(np.uint8)
    return array.dtype.str, isal_zlib.crc32(content), isal_zlib.adler32(content)
