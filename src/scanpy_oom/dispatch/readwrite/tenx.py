"""Reading files of Cell Ranger: :func:`scanpy.read_10x_h5` with the counts left where they are."""

from __future__ import annotations

import inspect
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import h5py
import numpy as np
from scanpy import logging as logg

from ... import _scanpy
from ...matrix import OOMMatrix
from ...messages import warn_user
from ...settings import settings
from ...storage.damage import damage_is_named
from ...storage.hdf5.file import SourceFile
from ...storage.hdf5.links import check_links
from ...storage.hdf5.tenx import open_tenx, write_without_counts
from ..patching.patch import patch_all, scanpys
from ..plugins.manager import overrides
from ..telemetry.call import Measurement

if TYPE_CHECKING:
    import os

    from anndata import AnnData

__all__ = ["read_10x_h5"]


def read_10x_h5(
    filename: str | os.PathLike[str],
    *,
    genome: str | None = None,
    gex_only: bool = True,
    backup_url: str | None = None,
) -> AnnData:
    """Read a file of Cell Ranger, leaving its counts on disk. See :func:`scanpy.read_10x_h5`."""
    patch_all(overrides().values())
    path = Path(filename)
    start = logg.info(f"reading {path}")
    if backup_url is not None and not path.is_file():
        _download(backup_url, path)
    call = Measurement("read_10x_h5", "out of memory", "its counts stay on disk")
    with call.running, call, damage_is_named(path):
        _check_links(path)
        adata = _read(path, genome, gex_only=gex_only)
    logg.info("", time=start)
    return adata


def _download(url: str, path: Path) -> None:
    """Fetch a file as the installed scanpy does."""
    download = _scanpy.download
    if "backup_url" in inspect.signature(download).parameters:
        download(path, backup_url=url)
    else:
        download(url, path)


def _check_links(path: Path) -> None:
    file = SourceFile(path)
    with file.library() as h5:
        if elsewhere := check_links(file.path, h5):
            warn_user(elsewhere)


def _read(path: Path, genome: str | None, *, gex_only: bool) -> AnnData:
    """Read the annotations by scanpy's own function, from a copy of the file without its counts."""
    with h5py.File(path) as h5, tempfile.TemporaryDirectory(dir=settings.scratch_dir) as folder:
        copy = Path(folder) / path.name
        write_without_counts(h5, copy)
        group = "matrix" if "matrix" in h5 else genome or next(iter(h5), "")
        try:
            with _scanpy.quiet():
                adata = inspect.unwrap(_scanpys_own())(copy, genome=genome, gex_only=gex_only)
        except ValueError as error:  # about genomes: it names the file that it was given
            raise ValueError(str(error).replace(str(copy), str(path))) from error
    matrix = OOMMatrix.from_source(open_tenx(path, f"/{group}"))
    if not adata.n_obs:  # nothing is there to tell which genes are left, nor are there counts
        adata.X = OOMMatrix.from_memory(adata.X.astype(matrix.dtype))
        return adata
    left = np.sort(adata.X[[0]].toarray().ravel()).astype(np.intp) - 1
    adata.X = matrix if left.size == matrix.shape[1] else matrix.select(None, left)
    return adata


def _scanpys_own() -> Any:
    return scanpys("io.read_10x_h5") or scanpys("read_10x_h5")
