"""Writing files from matrices that are on disk: beside the target, which may be the file that is being read."""

from __future__ import annotations

import itertools
import os
import shutil
import subprocess
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4
from weakref import WeakSet

from ...matrix import OOMMatrix
from ...reductions.write import written_dense
from ...storage.atomic_swap import exchange

if TYPE_CHECKING:
    from collections.abc import Iterator

    from anndata import AnnData

    from ..arguments import Function

__all__ = ["replacement", "write_beside", "write_store"]

_NUMBERS = itertools.count()
"""Threads may write to one place at once: who ends last wins."""

_pipes: WeakSet[Any] = WeakSet()
"""What tells watchers, by being closed, that this process has ended."""


def _close_pipes() -> None:
    for pipe in list(_pipes):
        pipe.close()


if hasattr(os, "register_at_fork"):  # a child may live on when we have ended
    os.register_at_fork(after_in_child=_close_pipes)


def write_beside(function: Function, path: Path, adata: AnnData, **kwargs: Any) -> object:
    """Write to a temporary file beside `path`, which takes its place when it is complete.

    What is read until then is the old file, which stays whole if writing fails.

    Parameters
    ----------
    function
        anndata's `write_h5ad`.
    path
        Where the file goes.
    adata
        What is written, block by block where it is out of memory.
    kwargs
        The other arguments of `function`.
    """
    as_dense = kwargs.get("as_dense", ())
    names = {name.replace("raw.X", "raw/X") for name in ([as_dense] if isinstance(as_dense, str) else as_dense)}
    with replacement(path) as temporary, written_dense(names):
        return function(temporary, adata, **kwargs)


def write_store(function: Function, store: object, adata: AnnData, **kwargs: object) -> object:
    """Write a Zarr store; one with a path is written beside it, and takes its place when it is complete.

    Parameters
    ----------
    function
        anndata's `write_zarr`.
    store
        Where the store is: a path, or what zarr has in its place.
    adata
        What is written, block by block where it is out of memory.
    kwargs
        The other arguments of `function`. As in memory, `chunks` is for an X that is an array.
    """
    if isinstance(adata.X, OOMMatrix) and not adata.X.is_dense:
        kwargs.pop("chunks", None)
    if not isinstance(store, str | os.PathLike):
        return function(store, adata, **kwargs)
    with replacement(Path(store)) as temporary:
        return function(temporary, adata, **kwargs)


@contextmanager
def replacement(path: Path) -> Iterator[Path]:
    """Give the path of a file that takes the place of `path` when the context is left without an error.

    The file is gone otherwise, also where this process is killed.
    """
    target = path.resolve()  # through a link, as writing into it would go
    # an ending may say what is to be written, as in .zip
    ending = target.suffix if len(os.fsencode(target.suffix)) < 100 else ""  # names have 255 bytes at most
    temporary = target.with_name(f".scanpy-oom-{os.getpid()}-{next(_NUMBERS)}-{uuid4().hex[:8]}.partial{ending}")
    with _removed_in_the_end(temporary):
        yield temporary
        if temporary.is_dir():
            _take_place(temporary, target)
            return
        with temporary.open("rb") as written:
            os.fsync(written.fileno())
        if target.exists():
            temporary.chmod(target.stat().st_mode)
        temporary.replace(target)


def _take_place(folder: Path, target: Path) -> None:
    """Put a folder in the place of another, which takes that of the folder."""
    if not target.exists():
        folder.rename(target)
        return
    if exchange(folder, target):
        return
    # one after the other: if this process is killed between, the old one is left under this name
    old = folder.with_suffix(".old")
    target.rename(old)
    try:
        folder.rename(target)
    except BaseException:
        old.rename(target)
        raise
    old.rename(folder)


@contextmanager
def _removed_in_the_end(path: Path) -> Iterator[None]:
    """Remove `path`, if it is there, when the context or this process ends, however that may be.

    As the resource tracker of :mod:`multiprocessing` does, by a process that waits for the end of this one. HDF5
    cannot write to a file without a name.
    """
    if shell := shutil.which("sh"):
        command = [shell, "-c", 'cat; exec rm -rf -- "$1"', "sh", str(path)]
        streams: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        with subprocess.Popen(command, **streams, bufsize=0, start_new_session=True) as watcher:
            _pipes.add(watcher.stdin)
            yield
        return
    try:
        yield
    finally:
        if path.is_dir():
            shutil.rmtree(path)
        path.unlink(missing_ok=True)
