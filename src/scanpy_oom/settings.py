"""The few numbers that users set, as attributes of one object."""

from __future__ import annotations

import os
import re
import tempfile
from dataclasses import dataclass, field
from numbers import Real
from pathlib import Path
from typing import TYPE_CHECKING, Literal, get_args

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Settings", "format_bytes", "parse_bytes", "settings"]

Device = Literal["cpu", "cuda", "auto", "numpy"]

DEVICE_MEMORY = 3 * 10**9

_UNITS = {"": 1, "B": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12} | {
    "KIB": 2**10,
    "MIB": 2**20,
    "GIB": 2**30,
    "TIB": 2**40,
}


def parse_bytes(value: float | str) -> int:
    """Turn ``"2 GB"``, ``"500 MiB"`` or a plain number into bytes.

    Raises
    ------
    ValueError
        If `value` is not a positive size.
    """
    number: float | str = value
    unit = 1
    if isinstance(value, str):
        match = re.fullmatch(r"\s*((?:\d+\.?\d*|\.\d+)(?:e\d+)?)\s*([a-z]*)\s*", value, flags=re.IGNORECASE)
        number, unit = (match[1], _UNITS.get(match[2].upper(), 0)) if match else ("0", 0)
    if not isinstance(value, Real | str) or not unit:
        msg = f"{value!r} is not a size; write bytes or a number with a unit, as in '2 GB' or '500 MiB'."
        raise ValueError(msg)
    try:
        size = int(float(number) * unit)
    except (OverflowError, ValueError):  # beyond all floats, infinite, not a number
        size = 0
    if size < 1:
        msg = f"A size must be positive and finite, not {value!r}."
        raise ValueError(msg)
    return size


def format_bytes(n: float) -> str:
    """Write a number of bytes as people read it (``"1.4 GB"``)."""
    for unit in ("B", "kB", "MB", "GB"):
        if n < 1000:
            return f"{n:.0f} {unit}" if unit == "B" else f"{n:.3g} {unit}"
        n /= 1000
    return f"{n:.3g} TB"


@dataclass
class Settings:
    """Settings of this process.

    Environment variables ``SCANPY_OOM_MEMORY_LIMIT``, ``SCANPY_OOM_THREADS``, ``SCANPY_OOM_SCRATCH_DIR``,
    ``SCANPY_OOM_STAGE``, ``SCANPY_OOM_DEVICE`` and ``SCANPY_OOM_DEVICE_MEMORY_LIMIT`` give the starting values.
    """

    _memory_limit: int | None = field(default=None, repr=False)
    _n_threads: int | None = field(default=None, repr=False)
    _scratch_dir: Path | None = field(default=None, repr=False)
    _stage: Literal["auto", "off"] | None = field(default=None, repr=False)
    _device: Device | None = field(default=None, repr=False)
    _device_memory_limit: int | None = field(default=None, repr=False)
    in_use: Callable[[], int] = field(default=lambda: 0, repr=False)
    """Tells how many bytes of the limit are held; set by what keeps account of them."""

    @property
    def memory_limit(self) -> int:
        """Bytes that one operation may add to the process (default: a quarter of the memory that is free).

        What is free is the least of what the machine has, and of what the control groups and the address space limit
        of this process leave. Results that stay with the user, as ``adata.obsm["X_pca"]``, come on top.
        """
        if self._memory_limit is not None:
            return self._memory_limit
        if env := os.environ.get("SCANPY_OOM_MEMORY_LIMIT"):
            return parse_bytes(env)
        from .machine import available_memory

        # what our work holds was free before, and is taken off the limit where that is divided
        return (available_memory() + self.in_use()) // 4

    @memory_limit.setter
    def memory_limit(self, value: int | float | str | None) -> None:
        self._memory_limit = None if value is None else parse_bytes(value)

    @property
    def n_threads(self) -> int:
        """Worker threads of a pass (default: the cores that this process may use)."""
        if self._n_threads is not None:
            return self._n_threads
        if env := os.environ.get("SCANPY_OOM_THREADS"):
            return _positive_int(env, "SCANPY_OOM_THREADS")
        return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else (os.cpu_count() or 1)

    @n_threads.setter
    def n_threads(self, value: int | None) -> None:
        self._n_threads = None if value is None else _positive_int(value, "n_threads")

    @property
    def scratch_dir(self) -> Path:
        """Folder for scratch files (default: the system's temporary folder)."""
        if self._scratch_dir is not None:
            return self._scratch_dir
        return Path(os.environ.get("SCANPY_OOM_SCRATCH_DIR") or tempfile.gettempdir())

    @scratch_dir.setter
    def scratch_dir(self, value: str | Path | None) -> None:
        self._scratch_dir = None if value is None else Path(value)

    @property
    def stage(self) -> Literal["auto", "off"]:
        """Whether the first pass over a slow source leaves a compact copy in scratch for those that follow.

        ``"auto"`` (the default): yes, in memory while it is small, else in :attr:`scratch_dir`, where it takes at most
        half of what is free. ``"off"``: every pass reads the file.
        """
        return self._stage or _stage(os.environ.get("SCANPY_OOM_STAGE") or "auto")

    @stage.setter
    def stage(self, value: Literal["auto", "off"] | None) -> None:
        self._stage = None if value is None else _stage(value)

    @property
    def device(self) -> Device:
        """Where passes compute.

        ``"cpu"`` (the default): on threads of this process. ``"cuda"``: on an NVIDIA GPU, through CuPy; an error where
        there is none that works. ``"auto"``: on a GPU where there is one, else on the CPU, which is said. ``"numpy"``:
        the GPU's code on the CPU, which serves to check it, and is slow.
        """
        return self._device or _device(os.environ.get("SCANPY_OOM_DEVICE") or "cpu")

    @device.setter
    def device(self, value: Device | None) -> None:
        self._device = None if value is None else _device(value)

    @property
    def device_memory_limit(self) -> int:
        """Bytes that passes may take of the GPU's memory (default: 3 GB, or three quarters of what is free there)."""
        if self._device_memory_limit is not None:
            return self._device_memory_limit
        return parse_bytes(os.environ.get("SCANPY_OOM_DEVICE_MEMORY_LIMIT") or DEVICE_MEMORY)

    @device_memory_limit.setter
    def device_memory_limit(self, value: int | float | str | None) -> None:
        self._device_memory_limit = None if value is None else parse_bytes(value)


def _stage(value: str) -> Literal["auto", "off"]:
    if value == "auto":
        return "auto"
    if value == "off":
        return "off"
    msg = f"stage must be 'auto' or 'off', not {value!r}."
    raise ValueError(msg)


def _device(value: str) -> Device:
    for name in get_args(Device):
        if value == name:
            return name
    msg = f"device must be one of {', '.join(map(repr, get_args(Device)))}, not {value!r}."
    raise ValueError(msg)


def _positive_int(value: int | str, name: str) -> int:
    number = int(value)
    if number < 1:
        msg = f"{name} must be at least 1, not {value!r}."
        raise ValueError(msg)
    return number


settings = Settings()
