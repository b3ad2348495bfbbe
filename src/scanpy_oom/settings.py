"""The few numbers that users set, as attributes of one object."""

from __future__ import annotations

import os
import re
import tempfile
import warnings
from dataclasses import dataclass, field
from functools import cache
from numbers import Real
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeVar, get_args

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
        msg = f"{value!r} is not a size; give a number of bytes, or a number with a unit, as in '2 GB' or '500 MiB'."
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


T = TypeVar("T", bound=str)

_CACHES: tuple[Literal["auto", "off"], ...] = ("auto", "off")
_READS: tuple[Literal["asked", "auto", "always"], ...] = ("asked", "auto", "always")
_GRAPHS: tuple[Literal["scanpy", "fast"], ...] = ("scanpy", "fast")


@dataclass
class Settings:
    """Settings of this process.

    Environment variables ``SCANPY_OOM_MEMORY_LIMIT``, ``SCANPY_OOM_THREADS``, ``SCANPY_OOM_SCRATCH_DIR``,
    ``SCANPY_OOM_CACHE``, ``SCANPY_OOM_READ``, ``SCANPY_OOM_FOLLOW_LINKS``, ``SCANPY_OOM_DEVICE``,
    ``SCANPY_OOM_DEVICE_MEMORY_LIMIT``, ``SCANPY_OOM_GRAPH`` and ``SCANPY_OOM_ENGINE`` give the starting values.
    """

    _memory_limit: int | None = field(default=None, repr=False)
    _n_threads: int | None = field(default=None, repr=False)
    _scratch_dir: Path | None = field(default=None, repr=False)
    _cache: Literal["auto", "off"] | None = field(default=None, repr=False)
    _read: Literal["asked", "auto", "always"] | None = field(default=None, repr=False)
    _follow_links: bool | None = field(default=None, repr=False)
    _device: Device | None = field(default=None, repr=False)
    _device_memory_limit: int | None = field(default=None, repr=False)
    _graph: Literal["scanpy", "fast"] | None = field(default=None, repr=False)
    _engine: object = field(default=None, repr=False)
    in_use: Callable[[], int] = field(default=lambda: 0, repr=False)
    """Return how many bytes of the limit are held; set by what keeps account of them."""

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
        from .memory.system import available_memory

        # what our work holds was free before, and is taken off the limit where that is divided
        return (available_memory() + self.in_use()) // 4

    @memory_limit.setter
    def memory_limit(self, value: int | float | str | None) -> None:
        self._memory_limit = None if value is None else parse_bytes(value)

    @property
    def limits_memory(self) -> bool:
        """True if :attr:`memory_limit` was set, and is not what the machine has."""
        return self._memory_limit is not None or bool(os.environ.get("SCANPY_OOM_MEMORY_LIMIT"))

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
    def cache(self) -> Literal["auto", "off"]:
        """True if the first pass over a compressed matrix leaves a compact copy for later passes.

        ``"auto"`` (the default): yes, in memory while it is small, else in :attr:`scratch_dir`, where it takes at most
        half of the free space. ``"off"``: every pass reads the file.
        """
        return self._cache or _one_of("cache", _cache_of_environment() or "auto", _CACHES)

    @cache.setter
    def cache(self, value: Literal["auto", "off"] | None) -> None:
        self._cache = None if value is None else _one_of("cache", value, _CACHES)

    @property
    def stage(self) -> Literal["auto", "off"]:
        """Deprecated name of :attr:`cache`."""
        _renamed("settings.stage", "settings.cache")
        return self.cache

    @stage.setter
    def stage(self, value: Literal["auto", "off"] | None) -> None:
        _renamed("settings.stage", "settings.cache")
        self.cache = value

    @property
    def read(self) -> Literal["asked", "auto", "always"]:
        """Files that stay on disk when they are read.

        ``"asked"`` (the default): those that are read with ``backed="oom"``. ``"auto"``: where `backed` is not given,
        those that are too large for what scanpy usually does in memory. ``"always"``: all that can be, where `backed`
        is not given; and matrices that ``anndata.io.read_elem`` reads of a file that is open for reading.
        """
        return self._read or _one_of("read", os.environ.get("SCANPY_OOM_READ") or "asked", _READS)

    @read.setter
    def read(self, value: Literal["asked", "auto", "always"] | None) -> None:
        self._read = None if value is None else _one_of("read", value, _READS)

    @property
    def follow_links(self) -> bool:
        """True if what an h5ad file says is in other files is read from there (default: yes, as anndata does).

        External links, external storage and virtual datasets of HDF5 name any file that this process may read. Those
        that are named are warned of; where this is off, such a file is refused instead.
        """
        if self._follow_links is not None:
            return self._follow_links
        return _on_or_off(os.environ.get("SCANPY_OOM_FOLLOW_LINKS") or "on")

    @follow_links.setter
    def follow_links(self, value: bool | str | None) -> None:
        self._follow_links = None if value is None else _on_or_off(value)

    @property
    def device(self) -> Device:
        """The device on which passes compute.

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

    @property
    def graph(self) -> Literal["scanpy", "fast"]:
        """Who searches neighbours and what is computed from them: layouts and clusters.

        ``"scanpy"`` (the default): scanpy's own functions. ``"fast"``: functions of ours, on any AnnData, also one in
        memory. Their results are as good by a stated measure, and the same for any number of threads. Arguments that
        they do not cover are left to scanpy, which the report says.
        """
        return self._graph or _one_of("graph", os.environ.get("SCANPY_OOM_GRAPH") or "scanpy", _GRAPHS)

    @graph.setter
    def graph(self, value: Literal["scanpy", "fast"] | None) -> None:
        self._graph = None if value is None else _one_of("graph", value, _GRAPHS)

    @property
    def engine(self) -> object:
        """The engine that makes passes.

        ``"threads"`` (the default): threads of this process. A :class:`dask.distributed.Client`, the address of its
        scheduler as ``"tcp://host:8786"``, or ``"dask"`` for the current Dask client: the workers of that cluster,
        which must see the files under the same paths. Results are the same to the last bit.
        """
        if self._engine is not None:
            return self._engine
        return os.environ.get("SCANPY_OOM_ENGINE") or "threads"

    @engine.setter
    def engine(self, value: object) -> None:
        if isinstance(value, str) and not value:
            msg = (
                "engine must be 'threads', 'dask', the address of a Dask scheduler ('tcp://host:8786'), a "
                "dask.distributed.Client, or an engine of a plugin; not ''."
            )
            raise ValueError(msg)
        self._engine = value  # who knows it is asked when a pass is made: plugins are not loaded before


def _renamed(old: str, new: str) -> None:
    warnings.warn(f"`{old}` is now `{new}`.", DeprecationWarning, stacklevel=3)


def _cache_of_environment() -> str | None:
    """Return what the environment says of the cache, also by the name that the variable had."""
    new = os.environ.get("SCANPY_OOM_CACHE")
    if new:
        return new
    old = os.environ.get("SCANPY_OOM_STAGE")
    if old:
        _warn_of_old_variable()
    return old


@cache
def _warn_of_old_variable() -> None:
    """Warn once a process, whichever call reads the variable first."""
    from .messages import warn_user

    warn_user("`SCANPY_OOM_STAGE` is now `SCANPY_OOM_CACHE`.", FutureWarning)


def _one_of(name: str, value: str, allowed: tuple[T, ...]) -> T:
    for one in allowed:
        if value == one:
            return one
    msg = f"{name} must be {' or '.join(map(repr, allowed))}, not {value!r}."
    raise ValueError(msg)


def _on_or_off(value: object) -> bool:
    found = {"on": True, "1": True, "true": True, "off": False, "0": False, "false": False}.get(str(value).lower())
    if found is None:
        msg = f"follow_links must be True or False ('on' or 'off' in the environment), not {value!r}."
        raise ValueError(msg)
    return found


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
