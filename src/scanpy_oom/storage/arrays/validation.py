"""Checks of stored values where they are decoded, and their conversion for kernels."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Generic

import numpy as np

from ...errors import CorruptFileError, OOMError
from ..abc import Value

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ..abc import Values

__all__ = ["MAX_EXACT", "CheckIndices", "Conversion", "ToValues"]

MAX_EXACT = 2**53
"""The integer up to which float64, in which all is computed, holds every one."""


class Conversion(ABC, Generic[Value]):
    """Turns decoded values into those of another type.

    Parameters
    ----------
    location
        What holds them, for errors.
    """

    def __init__(self, location: str) -> None:
        self.location = location

    @abstractmethod
    def bounds(self, stored: np.dtype) -> tuple[int, int] | None:
        """Between which integers stored values must lie to be cast and no more; None if more is to be done."""

    @abstractmethod
    def __call__(self, values: Values, *origin: int) -> NDArray[Value]:
        """Convert values, the first of which has the position `origin`."""


class ToValues(Conversion[Value]):
    """Gives stored values the type `dtype`, and verifies that it holds them.

    Only integers of 64 bits can be too large for it.
    """

    def __init__(self, dtype: np.dtype[Value], location: str) -> None:
        super().__init__(location)
        self.dtype = dtype

    def bounds(self, stored: np.dtype) -> tuple[int, int] | None:
        """Those that float64 holds."""
        if stored == np.bool_:
            return None
        return (-MAX_EXACT, MAX_EXACT) if self._is_held(stored) else (-(2**63), 2**64)

    def __call__(self, values: Values, *origin: int) -> NDArray[Value]:
        """Raise OOMError where float64, in which all is computed, would hold another integer than is stored."""
        if values.dtype == np.bool_:  # any byte but 0 is true
            values = values.view(np.uint8) != 0
        if self._is_held(values.dtype):
            self._check(values, origin)
        return values.astype(self.dtype, copy=False)

    def _is_held(self, stored: np.dtype) -> bool:
        return self.dtype.kind == "f" and stored.kind in "iu" and stored.itemsize == 8

    def _check(self, values: Values, origin: tuple[int, ...]) -> None:
        if values.size and (values.max() > MAX_EXACT or values.min() < -MAX_EXACT):
            found = np.unravel_index(np.argmax((values > MAX_EXACT) | (values < -MAX_EXACT)), values.shape)
            at = ", ".join(str(start + int(i)) for start, i in zip(origin, found, strict=True))
            msg = (
                f"{self.location} holds {values[found]} at position {at}. scanpy-oom computes with float64, which is "
                f"exact for integers up to {MAX_EXACT} only. Read the file without `backed='oom'`."
            )
            raise OOMError(msg)


class CheckIndices(Conversion[np.int32]):
    """Gives stored indices the type int32, and verifies that they lie within `[0, n)`.

    A kernel that trusts its indices would otherwise write out of bounds. One comparison per index is enough: seen as
    unsigned numbers, the negative ones are the largest.
    """

    def __init__(self, location: str, n: int) -> None:
        super().__init__(location)
        self.n = n

    def bounds(self, stored: np.dtype) -> tuple[int, int] | None:
        """The first and the last."""
        return (0, self.n - 1)

    def __call__(self, values: Values, *origin: int) -> NDArray[np.int32]:
        """Raise CorruptFileError where one lies outside."""
        if values.dtype.itemsize < 4:
            values = values.astype(np.int32)
        if values.size and values.view(f"u{values.dtype.itemsize}").max() >= self.n:
            at = int(np.argmax((values < 0) | (values >= self.n)))
            msg = (
                f"{self.location} holds {values[at]} at position {origin[0] + at}; indices there lie between 0 and "
                f"{self.n - 1}. The file is damaged; fetch or write it again."
            )
            raise CorruptFileError(msg)
        return values.astype(np.int32, copy=False)
