"""An NVIDIA GPU, through CuPy. The one module that imports it."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

import numpy as np

from ...errors import DeviceError
from ...settings import format_bytes
from .device import Array, Device, T

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from contextlib import AbstractContextManager
    from types import ModuleType

    from numpy.typing import NDArray


__all__ = ["LEAST_MEMORY", "CudaDevice", "import_cupy"]

LEAST_MEMORY = 500_000_000
"""Bytes of free memory without which a GPU is of no use."""

_INSTALL = "Install it for the version of CUDA that the driver supports (`nvidia-smi` shows it): "
_INSTALL += "`pip install 'scanpy-oom[gpu-cuda12]'` or `'scanpy-oom[gpu-cuda13]'`."

_SMALLEST_PIN = 2**16


def import_cupy() -> tuple[ModuleType, ModuleType]:
    """Import CuPy, and its sparse matrices.

    Raises
    ------
    DeviceError
        If it is not installed, or does not find CUDA's libraries.
    """
    try:
        cp, sparse = import_module("cupy"), import_module("cupyx.scipy.sparse")
    except ModuleNotFoundError as error:
        msg = f"CuPy is not installed ({error}). {_INSTALL}"
        raise DeviceError(msg) from error
    except (ImportError, OSError) as error:
        msg = f"CuPy cannot be imported: {error}. {_INSTALL}"
        raise DeviceError(msg) from error
    return cp, sparse


def check(cp: ModuleType) -> None:
    """Make sure that there is a GPU on which CuPy works.

    Parameters
    ----------
    cp
        CuPy.

    Raises
    ------
    DeviceError
        If not; it says what is missing.
    """
    runtime = cp.cuda.runtime
    driver, needed = runtime.driverGetVersion(), runtime.runtimeGetVersion()
    if driver == 0:
        msg = "There is no NVIDIA driver on this machine, or none that this process can reach."
        raise DeviceError(msg)
    if driver // 1000 < needed // 1000:
        msg = (
            f"The NVIDIA driver supports CUDA {_version(driver)}, and CuPy was built for {_version(needed)}. Update "
            f"the driver, or use another CuPy. {_INSTALL}"
        )
        raise DeviceError(msg)
    try:
        if runtime.getDeviceCount() == 0:
            msg = "No GPU can be seen; is CUDA_VISIBLE_DEVICES set to something else?"
            raise DeviceError(msg)
        free, total = cp.cuda.Device().mem_info
        works = int(cp.arange(3, dtype=cp.int64).sum()) == 3  # compiled here and now
    except (RuntimeError, ImportError, OSError, MemoryError, cp.cuda.compiler.CompileException) as error:
        msg = f"The GPU cannot be used: {type(error).__name__}: {error}"
        raise DeviceError(msg) from error
    if not works:
        msg = "The GPU computes wrong sums."
        raise DeviceError(msg)
    if free < LEAST_MEMORY:
        msg = (
            f"The GPU has {format_bytes(free)} of its {format_bytes(total)} free, and passes take at least "
            f"{format_bytes(LEAST_MEMORY)}. Close what else uses it."
        )
        raise DeviceError(msg)


def _version(number: int) -> str:
    return f"{number // 1000}.{number % 1000 // 10}"


class CudaDevice(Device):
    """The current GPU: copies go on one stream, work on another.

    Parameters
    ----------
    limit
        Bytes that passes may take.

    Raises
    ------
    DeviceError
        If there is no GPU that can be used.
    """

    def __init__(self, limit: int) -> None:
        cp, self.sparse = import_cupy()
        check(cp)
        self._cp = self.xp = cp
        name: bytes | str = cp.cuda.runtime.getDeviceProperties(cp.cuda.Device().id)["name"]
        self.title = name.decode() if isinstance(name, bytes) else name
        self._limit = min(limit, cp.cuda.Device().mem_info[0] * 3 // 4)
        # of its own, so that its limit is nobody else's
        self._pool = cp.cuda.MemoryPool()
        self._pool.set_limit(size=self._limit)
        self._pins = cp.cuda.PinnedMemoryPool()
        self._copies, self._work = cp.cuda.Stream(non_blocking=True), cp.cuda.Stream(non_blocking=True)

    @property
    def memory(self) -> int:
        return int(self._limit)

    def pinned(self, array: NDArray[T]) -> NDArray[T]:
        out = self._pin(array.shape, array.dtype)
        out[...] = array
        return out

    def _pin(self, shape: tuple[int, ...], dtype: np.dtype[T]) -> NDArray[T]:
        # by powers of two: what is given back is then of a size that is asked for again
        nbytes = max(int(np.prod(shape)) * dtype.itemsize, _SMALLEST_PIN)
        memory = self._pins.malloc(1 << (nbytes - 1).bit_length())
        return np.ndarray(shape, dtype=dtype, buffer=memory)

    def send(self, arrays: Sequence[NDArray[np.number | np.bool_]]) -> list[Array]:
        with self._cp.cuda.using_allocator(self._pool.malloc), self._copies:
            sent = []
            for array in arrays:
                out = self._cp.empty(array.shape, array.dtype)
                out.set(array, stream=self._copies)
                sent.append(out)
        self._work.wait_event(self._copies.record())
        return sent

    def working(self) -> AbstractContextManager[object]:
        return _Working(self._cp.cuda.using_allocator(self._pool.malloc), self._work)

    def fetch(self, array: Array) -> NDArray[Any]:
        out = self._pin(array.shape, array.dtype)
        return self._cp.asarray(array).get(stream=self._work, out=out, blocking=False)

    def mark(self) -> Callable[[], object]:
        return self._work.record().synchronize

    def recover(self) -> None:
        self._copies.synchronize()
        self._work.synchronize()
        for stream in (self._copies, self._work):
            self._pool.free_all_blocks(stream=stream)


class _Working:
    """The stream on which is worked, and the pool of which memory is taken."""

    def __init__(self, allocator: AbstractContextManager[object], stream: AbstractContextManager[object]) -> None:
        self._allocator, self._stream = allocator, stream

    def __enter__(self) -> None:
        self._allocator.__enter__()
        self._stream.__enter__()

    def __exit__(self, *error: Any) -> None:
        self._stream.__exit__(*error)
        self._allocator.__exit__(*error)
