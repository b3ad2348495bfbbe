"""The contents of AnnData before a call, put back if the call fails."""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Callable
from copy import deepcopy
from functools import partial
from itertools import starmap
from operator import call
from typing import TYPE_CHECKING, NamedTuple

import pandas as pd
from anndata import AnnData

from ..matrix import OOMMatrix

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

__all__ = ["Held", "Undo", "nothing"]

Undo = Callable[[], object]
"""A function that puts AnnData back, in one step that no signal and no other thread can interrupt."""

nothing: Undo = bool
"""The undo of a call that changes nothing."""


class Held:
    """The contents of AnnData, remembered in microseconds: only named arrays are copied.

    Parameters
    ----------
    values
        The AnnData; whatever else is among them is left alone.
    worked_on
        Arrays that the call changes in place.

    Attributes
    ----------
    undo
        What is to be called, once, where the call fails: as the first thing in an ``except`` block. All of it is done
        by compiled code between two steps of the interpreter, so that a second Ctrl-C comes before it or after it.
    """

    def __init__(self, values: Iterable[object], worked_on: Iterable[object] = ()) -> None:
        self._worked_on = {id(array) for array in worked_on}
        self._contents: dict[int, _Content] = {}
        for value in values:
            if isinstance(value, AnnData):
                owner = 0 if value.is_view else id(value)
                self._add(vars(value), owner)
                if value.raw is not None:
                    self._add(vars(value.raw), owner)
            elif isinstance(value, OOMMatrix):
                self._add(value.__dict__, 0)
        self.undo: Undo = partial(deque, starmap(call, self._steps()), 0)

    def _add(self, found: dict[str, object], owner: int) -> None:
        if id(found) in self._contents:
            return
        kept = dict(found)
        self._contents[id(found)] = _Content(owner, found, kept)
        for key, value in kept.items():
            if isinstance(value, pd.DataFrame):
                self._add_frame(value, owner)
            elif isinstance(value, dict):
                self._add(value, owner)
            elif isinstance(value, OOMMatrix):
                self._add(value.__dict__, owner)
            elif id(value) in self._worked_on:
                kept[key] = deepcopy(value)

    def _add_frame(self, frame: pd.DataFrame, owner: int) -> None:
        """Remember the columns of a data frame, which are put into a table of their own, and that into the frame."""
        found, same = vars(frame), frame.copy(deep=False)
        self._contents[id(found)] = _Content(owner, found, found | _table(same), same)

    def deepen(self, given: Iterable[object]) -> None:
        """Copy the arrays of AnnData of which it is not known what will be done to them.

        Not of views: what is given of these is a copy.
        """
        owners = {id(adata) for adata in given}
        for content in self._contents.values():
            if content.owner not in owners:
                continue
            if content.frame is not None:
                content.kept.update(_table(content.frame.copy()))
            else:
                content.kept.update({k: deepcopy(v) for k, v in content.kept.items() if _may_change(v)})

    def _steps(self) -> Iterator[tuple[object, ...]]:
        """Yield functions written in C, with their arguments, which bring everything back."""
        # What is thrown out is kept until the end: what is done when an object goes may be written in Python.
        thrown_out: list[object] = []
        steps: list[tuple[object, ...]] = []
        for _, found, kept, _ in self._contents.values():
            kind = OrderedDict if isinstance(found, OrderedDict) else dict
            steps += [(thrown_out.extend, kind.values(found)), (kind.clear, found), (kind.update, found, kept)]
        return iter(steps)


class _Content(NamedTuple):
    """What a dictionary that belongs to an AnnData holds; if it is that of a data frame, another frame with the same.

    `owner` is 0 for a view.
    """

    owner: int
    found: dict[str, object]
    kept: dict[str, object]
    frame: pd.DataFrame | None = None


def _table(frame: pd.DataFrame) -> dict[str, object]:
    """Return what of a data frame are its columns; all else stays with the object that users hold."""
    return {name: value for name, value in vars(frame).items() if name in {"_mgr", "_item_cache"}}


def _may_change(value: object) -> bool:
    is_array = hasattr(value, "__array__") or hasattr(value, "toarray")
    return isinstance(value, list | set) or (is_array and not isinstance(value, OOMMatrix | pd.DataFrame))
