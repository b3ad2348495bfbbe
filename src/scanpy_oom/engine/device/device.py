"""The interface of a device, and the CPU as one: the same code, on NumPy's arrays."""

from __future__ import annotations

from abc import ABC, abstractmethod
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

import numpy as np
from scipy import sparse

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from contextlib import AbstractContextManager
    from types import ModuleType

    from numpy.typing import NDArray

    from ...storage.abc import Values

__all__ = ["Array", "Device", "NumpyDevice"]

T = TypeVar("T", bound=np.generic)

Array: TypeAlias = "NDArray[Any]"
"""An array on a device: NumPy's, or CuPy's, which has the same methods."""


class Device(ABC):
    """A place for arrays, and the ways there and back.

    Only :meth:`pinned` is called by several threads; all else is called by the thread that runs the pass.

    Attributes
    ----------
    title
        What it is called.
    xp, sparse
        The packages of its arrays (``numpy`` or ``cupy``) and sparse matrices.
    """

    title: str
    xp: ModuleType
    sparse: ModuleType

    @property
    @abstractmethod
    def memory(self) -> int:
        """Bytes that passes may take of its memory."""

    @abstractmethod
    def pinned(self, array: NDArray[T]) -> NDArray[T]:
        """Return a copy in host memory from which the device can read while others work; perhaps the array itself."""

    @abstractmethod
    def send(self, arrays: Sequence[Values]) -> list[Array]:
        """Begin to copy pinned arrays to the device. Work that is begun afterwards waits for them.

        Raises
        ------
        MemoryError
            If there is no room.
        """

    @abstractmethod
    def working(self) -> AbstractContextManager[object]:
        """Return a context in which what arrays do is done in order, without anybody waiting for it."""

    @abstractmethod
    def fetch(self, array: Array) -> NDArray[Any]:
        """Begin to copy an array to the host, where it may be read once a later :meth:`mark` was waited for."""

    @abstractmethod
    def mark(self) -> Callable[[], object]:
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

    def pinned(self, array: NDArray[T]) -> NDArray[T]:
        return array

    def send(self, arrays: Sequence[Values]) -> list[Array]:
        return list(arrays)

    def working(self) -> AbstractContextManager[None]:
        return nullcontext()

    def fetch(self, array: Array) -> NDArray[Any]:
        return array

    def mark(self) -> Callable[[], None]:
        return lambda: None

    def recover(self) -> None:
        """There is nothing to wait for."""
