"""What passes need of a device, and the CPU as one: the same code, on NumPy's arrays."""

from __future__ import annotations

from abc import ABC, abstractmethod
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import sparse

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from contextlib import AbstractContextManager

    from numpy.typing import NDArray

__all__ = ["Array", "Device", "NumpyDevice"]

Array = Any
"""An array on a device: NumPy's or CuPy's."""


class Device(ABC):
    """Where arrays are, and how they get there and back.

    Only :meth:`pinned` is called by several threads; all else is called by the thread that runs the pass.

    Attributes
    ----------
    title
        What it is called.
    xp, sparse
        The packages of its arrays (``numpy`` or ``cupy``) and sparse matrices.
    """

    title: str
    xp: Any
    sparse: Any

    @property
    @abstractmethod
    def memory(self) -> int:
        """Bytes that passes may take of its memory."""

    @abstractmethod
    def pinned(self, array: NDArray[Any]) -> NDArray[Any]:
        """Return a copy in host memory from which the device can read while others work; perhaps the array itself."""

    @abstractmethod
    def send(self, arrays: Sequence[NDArray[Any]]) -> list[Array]:
        """Begin to copy pinned arrays to the device. Work that is begun afterwards waits for them.

        Raises
        ------
        MemoryError
            If there is no room.
        """

    @abstractmethod
    def working(self) -> AbstractContextManager[Any]:
        """Return a context in which what arrays do is done in order, without anybody waiting for it."""

    @abstractmethod
    def fetch(self, array: Array) -> NDArray[Any]:
        """Begin to copy an array to the host, where it may be read once a later :meth:`mark` was waited for."""

    @abstractmethod
    def mark(self) -> Callable[[], Any]:
        """Return a function that waits until all is done that was begun until now."""

    @abstractmethod
    def recover(self) -> None:
        """Wait for all that was begun and give back memory that is not in use, after some was refused."""


class NumpyDevice(Device):
    """The CPU. What copies to and from a GPU must not change is shared here.

    Parameters
    ----------
    memory
        Bytes that passes may take.
    """

    title = "numpy"
    xp = np
    sparse = sparse

    def __init__(self, memory: int) -> None:
        self._memory = memory

    @property
    def memory(self) -> int:
        return self._memory

    def pinned(self, array: NDArray[Any]) -> NDArray[Any]:
        return array

    def send(self, arrays: Sequence[NDArray[Any]]) -> list[Array]:
        return list(arrays)

    def working(self) -> AbstractContextManager[None]:
        return nullcontext()

    def fetch(self, array: Array) -> NDArray[Any]:
        return array

    def mark(self) -> Callable[[], None]:
        return lambda: None

    def recover(self) -> None:
        """There is nothing to wait for."""
