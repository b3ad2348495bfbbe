"""Appending to an array of a file, whole chunks at a time; and filling one in any order."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar

import numpy as np

if TYPE_CHECKING:
    from .abc import Values

__all__ = ["Appender", "Appends", "Encoder", "GrowingArray", "PlainEncoder"]

Encoded = TypeVar("Encoded")


class GrowingArray(Protocol):
    """An array of a file that is open for writing with h5py or zarr."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Length of each axis."""

    @property
    def dtype(self) -> np.dtype:
        """Type of the values."""

    def resize(self, shape: tuple[int, ...], /) -> None:
        """Change its length."""

    def __setitem__(self, rows: slice, values: Values, /) -> None: ...


class Encoder(ABC, Generic[Encoded]):
    """Makes parts of an array what its file takes in, in any process: it is pickled, and the file is not."""

    @abstractmethod
    def encode(self, start: int, rows: Values) -> Encoded:
        """Return what :meth:`Appends.put` takes in of the rows from `start` on."""


@dataclass(frozen=True, slots=True)
class PlainEncoder(Encoder["Values"]):
    """Leaves values to the library that writes the file.

    Parameters
    ----------
    dtype
        Type of the array.
    """

    dtype: np.dtype

    def encode(self, start: int, rows: Values) -> Values:
        """Return the rows, in the type of the array."""
        return rows.astype(self.dtype, copy=False)


class Appends(Protocol):
    """Anything that rows can be appended to, or that can be filled in any order instead."""

    def append(self, rows: Values, /) -> None:
        """Append `rows`."""

    def close(self) -> None:
        """Write all that waits."""

    @property
    def step(self) -> int:
        """Parts begin at a multiple of so many rows."""

    def in_parts(self, n_rows: int, /) -> Encoder[Any]:
        """Take no rows any more but parts, in any order, of so many rows in all; return what makes them."""

    def put(self, start: int, encoded: Any, /) -> None:
        """Write a part, which an encoder has made."""


class Appender:
    """Appends to an array along its first axis.

    Parameters
    ----------
    array
        The array. It grows as it must.
    step
        Rows of which a multiple is written at a time, but for the last.
    """

    def __init__(self, array: GrowingArray, step: int) -> None:
        self._array = array
        self._step = step
        self._waiting: list[Values] = []
        self._n_waiting = 0
        self._started = 0

    @property
    def n_rows(self) -> int:
        """Rows appended so far."""
        return self._started + self._n_waiting

    @property
    def step(self) -> int:
        """Parts begin at a multiple of so many rows."""
        return self._step

    def append(self, rows: Values) -> None:
        """Append `rows`, whose dtype becomes that of the array. They are not to change afterwards."""
        self._waiting.append(rows.astype(self._array.dtype, copy=False))
        self._n_waiting += rows.shape[0]
        whole = self._n_waiting - self._n_waiting % self._step
        if whole:
            self._flush(whole)

    def close(self) -> None:
        """Write all that waits."""
        if self._n_waiting:
            self._flush(self._n_waiting)

    def in_parts(self, n_rows: int) -> Encoder[Any]:
        """Make room for all rows, and return what makes parts of them."""
        if self._array.shape[0] != n_rows:
            self._array.resize((n_rows, *self._array.shape[1:]))
        return self._encoder()

    def _encoder(self) -> Encoder[Any]:
        return PlainEncoder(self._array.dtype)

    def put(self, start: int, encoded: Any) -> None:
        """Write a part."""
        self._array[start : start + encoded.shape[0]] = encoded

    def _flush(self, n_rows: int) -> None:
        """Write the first `n_rows` of what waits."""
        rows = self._waiting[0] if len(self._waiting) == 1 else np.concatenate(self._waiting)
        self._waiting, self._n_waiting = [rows[n_rows:]], self._n_waiting - n_rows
        stop = self._started + n_rows
        if self._array.shape[0] < stop:
            self._array.resize((stop, *self._array.shape[1:]))
        self._write(self._started, rows[:n_rows])
        self._started = stop

    def _write(self, start: int, rows: Values) -> None:
        """Write rows from `start` on."""
        self._array[start : start + rows.shape[0]] = rows
