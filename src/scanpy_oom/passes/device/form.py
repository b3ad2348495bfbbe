"""How a reduction says what it accumulates in terms of arrays, and which reductions have said it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, ClassVar

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np

    from ...matrix import OOMMatrix
    from ..reductions import Reduction
    from .block import ArrayBlock
    from .device import Array, Device

__all__ = ["FORMS", "ArrayForm", "SummedForm", "add_up", "array_form"]

FORMS: dict[type[Reduction], type[ArrayForm]] = {}
"""Of each reduction that has one, its form in arrays."""


def array_form(reduction: type[Reduction]) -> Callable[[type[ArrayForm]], type[ArrayForm]]:
    """Register a class as the form of a reduction."""

    def register(form: type[ArrayForm]) -> type[ArrayForm]:
        FORMS[reduction] = form
        return form

    return register


class ArrayForm(ABC):
    """Accumulates on a device what a reduction does on the host, whose partial result it is turned into at the end.

    Parameters
    ----------
    reduction
        The reduction, which knows its matrix.
    matrix
        That matrix.
    device
        Where.
    """

    takes_background: ClassVar[bool] = True
    """Whether it knows of a background."""

    def __init__(self, reduction: Any, matrix: OOMMatrix, device: Device) -> None:
        self.reduction = reduction
        self.matrix = matrix
        self.device = device
        self.xp = device.xp

    @classmethod
    def covers(cls, reduction: Any, matrix: OOMMatrix) -> bool:
        """Tell whether it does as the reduction with these arguments, on this matrix."""
        return True

    def wants_all_values(self, block: ArrayBlock) -> bool:
        """Whether it must be given this block with all its values stored."""
        return block.background is not None and not self.takes_background

    def begin(self) -> None:  # noqa: B027
        """Allocate what is accumulated."""

    @abstractmethod
    def update(self, block: ArrayBlock) -> None:
        """Add a block. What may find no memory comes before what changes the state, in one step at the end."""

    def scatter(self, out: Array, places: Array, values: Array) -> None:
        """Add each value to its place of `out`, in their order where the device has one; some after others, if need be.

        So that nothing is added twice where there is no room for what comes after it.
        """
        try:
            self.xp.add.at(out, places, values)
        except MemoryError:
            if places.size < 2:
                raise
            self.device.recover()
            for some in (slice(None, places.size // 2), slice(places.size // 2, None)):
                self.scatter(out, places[some], values[some])

    def end_task(self) -> None:  # noqa: B027
        """Take note that a task ends, whose partial result is merged with those before."""

    def finish(self) -> Any:
        """Return the partial result that the reduction would have on the host."""
        return self.reduction.partial()

    def result(self, total: Any) -> Any:
        """Return what was asked for."""
        return self.reduction.result(total)

    def nbytes(self) -> int:
        """Bytes of the device's memory that it takes beside its share of blocks."""
        return 2 * int(self.reduction.partial_nbytes())


def add_up(xp: Any, places: Array, values: Array, n: int) -> Array:
    """Add up values by their places, `(n,)`, one after the other where the device adds in order."""
    out = xp.zeros(n)
    xp.add.at(out, places, values)
    return out


class SummedForm(ArrayForm):
    """Sums up arrays: within a task one entry after the other, then task by task, as on the host.

    So sums are rounded as they are there, where the device adds in order, whatever the size of blocks.
    """

    shape: tuple[int, ...]

    def begin(self) -> None:
        self.partial = self.xp.zeros(self.shape)
        self.total: Array | None = None

    def end_task(self) -> None:
        if self.total is None:
            self.total = self.partial
            self.partial = self.xp.zeros(self.shape)
        else:
            self.total += self.partial
            self.partial[...] = 0

    def summed(self) -> np.ndarray:
        """Return the sum of all tasks, on the host."""
        total = self.partial if self.total is None else self.total + self.partial
        found = self.device.fetch(total)
        self.device.mark()()
        return found
