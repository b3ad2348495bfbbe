"""Reading files of Cell Ranger: :func:`scanpy.read_10x_h5` with the counts left where they are."""

from __future__ import annotations

import warnings
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from scanpy import logging as logg
from scanpy import readwrite

from ..io.memory import MemorySource
from ..io.tenx import open_tenx, without_counts
from ..matrix import OOMMatrix
from ..pp._compat import SCANPY_1_12
from .manager import overrides
from .measure import Measurement
from .patching import patch_all

if TYPE_CHECKING:
    import os

    import h5py
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
    if not readwrite._check_datafile_present_and_download(path, backup_url=backup_url):
        logg.debug(f"... did not find original file {path}")
    with Measurement("read_10x_h5", "out of memory", "its counts stay on disk"):
        adata = readwrite._read_10x_h5(path, partial(_read, path=path, genome=genome, gex_only=gex_only))
    logg.info("", time=start)
    return adata


def _read(h5: h5py.File, *, path: Path, genome: str | None, gex_only: bool) -> AnnData:
    """Read the annotations by scanpy's own functions, from a copy of the file without its counts."""
    with without_counts(h5) as copy:
        if "matrix" in h5:
            name = "matrix"
            with warnings.catch_warnings():
                if SCANPY_1_12 and (genome or gex_only):  # then what is selected gives the warning, once
                    warnings.filterwarnings("ignore", r".*names are not unique", UserWarning)
                adata = readwrite._read_v3_10x_h5(copy)
            adata = _selected(adata, path, genome, gex_only=gex_only)
        else:
            try:
                adata = readwrite._read_legacy_10x_h5(copy, genome)
            except ValueError as error:  # about genomes: it names the file that it was given
                raise ValueError(str(error).replace(copy.filename, h5.filename)) from error
            name = genome or next(iter(h5))
    matrix = OOMMatrix.from_source(open_tenx(path, f"/{name}"))
    if not adata.n_obs:  # nothing is there to tell which genes are left, nor are there counts
        adata.X = OOMMatrix.from_source(MemorySource(adata.X.astype(matrix.dtype)))
        return adata
    left = np.sort(adata.X[[0]].toarray().ravel()).astype(np.intp) - 1
    adata.X = matrix if left.size == matrix.shape[1] else matrix.select(None, left)
    return adata


def _selected(adata: AnnData, path: Path, genome: str | None, *, gex_only: bool) -> AnnData:
    """Keep genes as :func:`scanpy.read_10x_h5` does."""
    var: Any = adata.var
    if genome:
        if genome not in var["genome"].values:
            msg = (
                f"Could not find data corresponding to genome {genome!r} in {path}. "
                f"Available genomes are: {list(var['genome'].unique())}."
            )
            raise ValueError(msg)
        adata = adata[:, var["genome"] == genome]
    if gex_only:
        adata = adata[:, adata.var["feature_types"] == "Gene Expression"]
    return adata.copy() if adata.is_view else adata
