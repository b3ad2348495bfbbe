"""The decision whether a file is read into memory or stays on disk, with ``settings.read = "auto"``."""

from __future__ import annotations

import inspect
import os
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

import h5py

from ...errors import CorruptFileError, OOMError
from ...memory.system import available_memory
from ...messages import info, warn_user
from ...settings import format_bytes
from ...storage.header import matrix_sizes, tenx_sizes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from ...storage.header import MatrixSize
    from ..arguments import Args, Function, Kwargs

__all__ = ["Decision", "decide", "needed_by_scanpy", "read_automatically"]

COPIES = 3.1
"""Times that all matrices are in memory at most, until genes are chosen: while cells are taken out of them."""

KEPT = 2.2
"""Times that X is in memory, in single precision, when components are computed: as raw, and what is left of copies."""

SCALED = 6.3
"""Times that the chosen genes are in memory then, as a dense matrix in single precision."""

CHOSEN = 2000
"""Genes that are chosen."""

LIBRARIES = 100_000_000
"""Bytes that imports of the steps and compiled functions take."""


def needed_by_scanpy(matrices: Sequence[MatrixSize]) -> int:
    """Return about how many bytes scanpy takes in memory from these matrices to principal components.

    Parameters
    ----------
    matrices
        X first, layers and raw. The usual workflow is assumed: quality control, filters, normalisation, log1p, raw,
        2,000 variable genes, scaling and PCA. What comes after it takes less.
    """
    everything = sum(matrix.nbytes for matrix in matrices)
    x = matrices[0]
    single = x.n_values * (4 if x.is_dense else 8)
    scaled = 4 * x.shape[0] * min(CHOSEN, x.shape[1])
    return int(max(COPIES * everything, KEPT * single + SCALED * scaled)) + LIBRARIES


@dataclass(frozen=True, slots=True)
class Decision:
    """Where the matrices of a file go.

    Parameters
    ----------
    path
        The file.
    needed
        Bytes that scanpy would take in memory, about.
    available
        Bytes that this process can take: of the machine, its control groups and its own limits, what is least.
    """

    path: Path
    needed: int
    available: int

    @property
    def on_disk(self) -> bool:
        """True if they stay on disk."""
        return self.needed > self.available

    def __str__(self) -> str:
        fits = "but only" if self.on_disk else "and"
        what = f"scanpy's usual steps take about {format_bytes(self.needed)} of memory"
        there = f"{what}, {fits} {format_bytes(self.available)} are free"
        if self.on_disk:
            way = (
                "To read it into memory, pass `backed=False`; for all files, set `scanpy_oom.settings.read = 'asked'`."
            )
            return f"{self.path} stays on disk: {there}. {way}"
        return f"{self.path} is read into memory: {there}. `backed='oom'` leaves it on disk."


def decide(path: Path, sizes: Callable[[Any], Iterator[MatrixSize]] = matrix_sizes) -> Decision | None:
    """Decide from the header of a file; None where that cannot be read, or tells of no matrix.

    Parameters
    ----------
    path
        An h5ad file, a Zarr store, or a file of Cell Ranger.
    sizes
        Finds the matrices in it.
    """
    try:
        with _opened(path) as root:
            matrices = list(sizes(root))
    except (OSError, KeyError, ValueError, TypeError, ImportError):  # whoever reads it says what is wrong
        return None
    return Decision(path, needed_by_scanpy(matrices), available_memory()) if matrices else None


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    if path.suffix == ".zarr" or path.is_dir():
        import zarr

        yield zarr.open_group(path, mode="r")
    else:
        with h5py.File(path, "r") as file:
            yield file


def read_automatically(function: Function, reader: str, args: Args, kwargs: Kwargs, *, tenx: bool = False) -> object:
    """Read a file into memory if what scanpy usually does with it fits there; else leave its matrices on disk.

    One line says what was decided: a warning where they stay on disk, since that was not asked for.

    Parameters
    ----------
    function
        Reads into memory.
    reader
        Module and name of what leaves matrices on disk, which is imported if it is needed.
    args, kwargs
        Arguments of `function`.
    tenx
        Whether it is a file of Cell Ranger.
    """
    path, others = _path_and_others(function, args, kwargs)
    can_stay = path is not None and (tenx or not others)
    decision = decide(path, tenx_sizes if tenx else matrix_sizes) if path is not None and can_stay else None
    if decision is None:
        return function(*args, **kwargs)
    if not decision.on_disk:
        info(str(decision))
        return function(*args, **kwargs)
    try:
        module, _, name = reader.partition(":")
        adata = getattr(import_module(module), name)(decision.path, **others)
    except CorruptFileError:  # in memory it would be no better
        raise
    except OOMError as error:
        warn_user(f"{decision.path} does not fit into memory, and cannot stay on disk: {error} It is read into memory.")
        return function(*args, **kwargs)
    warn_user(str(decision))
    return adata


def _path_and_others(function: Function, args: Args, kwargs: Kwargs) -> tuple[Path | None, dict[str, Any]]:
    """Return the path that a function is to read, None if it is given none; and other arguments that say how."""
    try:
        given = inspect.signature(function).bind(*args, **kwargs).arguments
    except TypeError:  # which the function says better
        return None, {}
    path, *_ = [*given.values(), None]
    others = {name: value for name, value in list(given.items())[1:] if value is not None}
    return Path(os.fsdecode(path)) if isinstance(path, str | bytes | os.PathLike) else None, others
