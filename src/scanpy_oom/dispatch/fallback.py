"""Running scanpy's own function on matrices that are brought into memory for the time of the call."""

from __future__ import annotations

from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from anndata import AnnData
from isal import isal_zlib
from scipy import sparse

from .. import messages
from ..engine.budget import announce, require
from ..matrix import OOMMatrix, underlying
from ..matrix.protocol import engine
from . import slots
from .slots import Used
from .telemetry.origins import note
from .undo import Held, nothing

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from .arguments import Args, Kwargs

__all__ = ["Fallback", "in_memory", "materialized"]


class Fallback:
    """The arguments with which scanpy's own function is to be called, and a place for what it returns."""

    def __init__(self, args: Args, kwargs: Kwargs) -> None:
        self.args = args
        self.kwargs = kwargs
        self.result: object = None


@contextmanager
def in_memory(
    name: str,
    used: Sequence[Used],
    args: Args,
    kwargs: Kwargs,
    reason: str,
    advice: str = "Call it on fewer cells or genes.",
    begin: Callable[[], object] = nothing,
) -> Iterator[Fallback]:
    """Bring matrices into memory for a call.

    Within the context each AnnData has them in memory; all its other matrices stay as they are. At the end those that
    the call left unchanged are on disk again, in the AnnData and in what the call returned. If the call fails, whoever
    called this undoes what was done until then (see :mod:`~scanpy_oom.dispatch.undo`).

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
    begin
        What is called when they are known to fit, before anything is changed.

    Raises
    ------
    MemoryBudgetExceeded
        If the matrices take more than ``settings.memory_limit``.
    """
    _announce(name, used, reason, advice)
    begin()
    place = messages.place()
    by_holder: dict[int, list[Used]] = {}
    for item in used:
        by_holder.setdefault(id(item.holder), []).append(item)
    brought = [_materialized(items) for items in by_holder.values()]
    for one in brought:
        one.give()
    substitutes = {id(one.holder): one.substitute for one in brought}
    fallback = Fallback(
        tuple(substitutes.get(id(value), value) for value in args),
        {key: substitutes.get(id(value), value) for key, value in kwargs.items()},
    )
    yield fallback
    for one in brought:
        one.settle()
        one.remember(f"{name}{'' if place is None else f' in {place}'}")
    fallback.result = _on_disk_again(fallback.result, brought)


@contextmanager
def materialized(adata: AnnData, names: tuple[str, ...]) -> Iterator[AnnData]:
    """Have matrices of an AnnData in memory for the time of the context.

    Parameters
    ----------
    adata
        The AnnData, or a view.
    names
        Matrices by the names of :mod:`~scanpy_oom.dispatch.slots`; X if there is none.

    Raises
    ------
    KeyError
        If there is no such matrix.
    MemoryBudgetExceeded
        If they take more than ``settings.memory_limit``.
    """
    there = dict(underlying(adata))
    wanted = names or ("X",)
    if missing := [name for name in wanted if name not in there]:
        msg = f"{missing[0]!r} is no matrix of this AnnData, which has {list(there)}."
        raise KeyError(msg)
    used = [Used(adata, name, slots.get(adata, name)) for name in wanted if isinstance(there[name], OOMMatrix)]
    if not used:
        yield adata
        return
    held = Held([adata])
    begin = partial(held.deepen, [adata])
    why = "your code asks for it"
    try:
        with in_memory("adata.oom.in_memory", used, (adata,), {}, why, begin=begin) as fallback:
            yield fallback.args[0]
    except BaseException:
        held.undo()
        raise


def _announce(name: str, used: Sequence[Used], reason: str, advice: str) -> None:
    """Make sure that the matrices fit in memory, and say once for each function that they are brought there."""
    what = " and ".join(f"adata.{slots.attribute(item.slot)}" if item.slot else "the matrix" for item in used)
    nbytes = sum(item.matrix.nbytes_in_memory for item in used)
    require(nbytes, f"{name}, which needs {what} in memory ({reason}),", advice)
    announce(name, what, nbytes, reason)


class _InAnnData:
    """Matrices of one AnnData, in memory for a call.

    The function works on the AnnData itself, so that whatever else it sets stays where users see it.
    """

    def __init__(self, items: Sequence[Used]) -> None:
        self.holder: Any = items[0].holder
        self.substitute = self.holder
        self.matrices = {item.slot: item.matrix for item in items}
        self.fingerprints: dict[str, _Fingerprint] = {}
        self._values: dict[str, object] = {}

    def give(self) -> None:
        """Put the matrices in memory."""
        self._fill(self.holder)

    def settle(self) -> None:
        """Put the matrices that were not changed back on disk, and those that were changed in place as they are now."""
        self.put_back(self.holder)
        for slot, matrix in self.matrices.items():
            if slots.get(self.holder, slot) is self._values[slot]:
                _change(matrix, self._values[slot])
                slots.put(self.holder, slot, matrix)

    def remember(self, how: str) -> None:
        """Remember of the matrices that were changed how they came to be in memory."""
        for slot in self.matrices:
            values = slots.get(self.holder, slot)
            if not isinstance(values, OOMMatrix):
                note(values, how)

    def _fill(self, adata: AnnData) -> None:
        for slot, matrix in self.matrices.items():
            values = matrix.to_memory()
            self.fingerprints[slot] = _fingerprint(values)
            self._values[slot] = values
            slots.put(adata, slot, values)

    def put_back(self, adata: AnnData) -> bool:
        """Put on disk again what `adata` holds unchanged of the matrices; tell whether that is all of them."""
        before = self.fingerprints.items()
        unchanged = [slot for slot, known in before if _fingerprint(slots.get(adata, slot)) == known]
        for slot in unchanged:
            slots.put(adata, slot, self.matrices[slot])
        return len(unchanged) == len(self.matrices)


class _InView(_InAnnData):
    """Matrices of a view, in memory for a call.

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


class _Matrix(_InAnnData):
    """A matrix that was given by itself, in memory for a call."""

    def give(self) -> None:
        self.substitute = self.holder.to_memory()
        self.fingerprints[""] = _fingerprint(self.substitute)

    def settle(self) -> None:
        if _fingerprint(self.substitute) != self.fingerprints[""]:
            _change(self.holder, self.substitute)

    def remember(self, how: str) -> None:
        pass

    def put_back(self, adata: AnnData) -> bool:
        return True


def _materialized(items: Sequence[Used]) -> _InAnnData:
    holder = items[0].holder
    if isinstance(holder, OOMMatrix):
        return _Matrix(items)
    return _InView(items) if holder.is_view else _InAnnData(items)


def _change(matrix: OOMMatrix, values: object) -> None:
    """Have all that hold a matrix see what its values in memory have become."""
    matrix.become(engine().keep_changed(values, matrix))


def _on_disk_again(result: object, brought: Sequence[_InAnnData]) -> object:
    """Return what a function returned, with the matrices that it did not change on disk."""
    for one in brought:
        if result is one.substitute and isinstance(result, AnnData):
            return one.holder
    for value in result if isinstance(result, tuple | list) else [result]:
        if isinstance(value, AnnData) and not value.is_view:
            for one in brought:
                one.put_back(value)
    return result


_Fingerprint = tuple[object, ...] | None


def _fingerprint(values: Any) -> _Fingerprint:
    """Return what tells whether a matrix in memory has changed; `None` for what is no such matrix."""
    arrays: tuple[np.ndarray, ...]
    if isinstance(values, OOMMatrix):
        return None
    if sparse.issparse(values) and values.format in {"csr", "csc"}:
        kind, arrays = values.format, _without_zeros(values)
    elif isinstance(values, np.ndarray):
        kind, arrays = "array", (values,)
    else:
        return None
    return kind, values.shape, *(_checksum(array) for array in arrays)


def _without_zeros(values: sparse.csr_matrix) -> tuple[np.ndarray, ...]:
    """Return data, indices and where rows (columns) start, without zeros that are stored.

    scanpy removes these where it needs numbers of non-zeros, which changes no value.
    """
    kept = values.data != 0
    if kept.all():
        return values.data, values.indices, values.indptr
    ends = np.concatenate([[0], np.cumsum(kept)]).astype(values.indptr.dtype)
    return values.data[kept], values.indices[kept], ends[values.indptr]


def _checksum(array: np.ndarray) -> tuple[object, ...]:
    content = np.asarray(array).ravel(order="K").view(np.uint8)
    return array.dtype.str, isal_zlib.crc32(content), isal_zlib.adler32(content)
