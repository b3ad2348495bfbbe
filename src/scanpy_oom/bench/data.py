"""The matrix that the demo runs on: one's own, checked, or one that is made."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import anndata as ad
import numpy as np
import pandas as pd

from ..dispatch.readwrite.read import read_h5ad
from ..matrix import OOMMatrix
from ..matrix.interop.anndata import IORegistryError
from ..settings import format_bytes
from .atlas import MIN_CELLS, MIN_GENES, write_atlas
from .display import Display

if TYPE_CHECKING:
    from pathlib import Path
    from typing import Literal

__all__ = ["GROUP", "Counts", "UnsuitableInput", "check_size", "inspect_counts", "make_counts", "make_sample"]

FEWEST_CELLS, FEWEST_GENES = 100, 500  # below, filtering and 50 principal components leave nothing to look at
SAMPLE = 200  # rows whose values are looked at
SAMPLE_CELLS, SAMPLE_NBYTES = 8_000, 2 * 10**8  # of a sample, the bytes if it is dense: enough to be treated as all are
GROUP = "group"


class UnsuitableInput(ValueError):  # noqa: N818
    """The workflow cannot run on this file."""


@dataclass(frozen=True)
class Counts:
    """A file of counts, as far as it matters here.

    Attributes
    ----------
    path
        The file.
    shape
        Cells and genes.
    density
        Share of entries that are stored.
    size
        Bytes of the matrix on disk.
    dtype, format, compression
        How the matrix is stored.
    categories
        Categorical columns of obs, with more than one category.
    are_whole
        Whether the values that were looked at are whole numbers.
    """

    path: Path
    shape: tuple[int, int]
    density: float
    size: int
    dtype: np.dtype
    format: Literal["csr", "csc", "dense"]
    compression: str
    categories: list[str]
    are_whole: bool

    def __str__(self) -> str:
        cells, genes = self.shape
        return f"{cells:,} cells × {genes:,} genes, {self.density:.1%} stored, {format_bytes(self.size)} on disk"


def inspect_counts(path: Path) -> Counts:
    """Look at a file and make sure that the workflow can run on it.

    Raises
    ------
    FileNotFoundError, IsADirectoryError, NotAnH5adError, CorruptFileError
        As `read_h5ad` has it.
    UnsuitableInput
        If something in it is of a kind that anndata does not read, or if X is absent, too small, or holds no counts.
    """
    try:
        adata = read_h5ad(path)
    except IORegistryError as error:
        msg = f"{path} cannot be read with anndata {ad.__version__}: {error}"
        raise UnsuitableInput(msg) from error
    if not isinstance(adata.X, OOMMatrix):
        found = f"The layers are: {', '.join(adata.layers)}" if adata.layers else "There are no layers either"
        msg = f"{path} has no matrix of numbers in X; the workflow needs counts there. {found}."
        raise UnsuitableInput(msg)
    source, (n_obs, n_vars) = adata.X.source, adata.shape
    if n_obs < FEWEST_CELLS or n_vars < FEWEST_GENES:
        msg = (
            f"{path} holds {n_obs} cells and {n_vars} genes; "
            f"the workflow needs at least {FEWEST_CELLS} cells and {FEWEST_GENES} genes. "
            "Use a larger file, or none: then data are generated."
        )
        raise UnsuitableInput(msg)
    values = source.read_rows(slice(0, SAMPLE)).data
    if values.size and values.min() < 0:
        msg = (
            f"{path} has negative values in X, such as {values.min():g}; "
            "the workflow needs counts there, not scaled data."
        )
        raise UnsuitableInput(msg)
    columns = adata.obs.select_dtypes("category")
    return Counts(
        path=path,
        shape=(n_obs, n_vars),
        density=source.nnz / (n_obs * n_vars),
        size=source.nbytes,
        dtype=source.dtype,
        format=source.format,
        compression=source.compression,
        categories=[name for name in columns if columns[name].cat.categories.size > 1],
        are_whole=bool(np.all(values == np.round(values))),
    )


def check_size(n_cells: int, n_genes: int) -> None:
    """Make sure that a matrix that is to be made is large enough.

    Raises
    ------
    UnsuitableInput
        If it is not.
    """
    if n_cells < MIN_CELLS or n_genes < MIN_GENES:
        msg = f"Generated data need at least {MIN_CELLS} cells and {MIN_GENES} genes, not {n_cells} and {n_genes}."
        raise UnsuitableInput(msg)


def make_counts(path: Path, *, n_cells: int, n_genes: int, seed: int) -> Path:
    """Make a realistic matrix, showing the progress.

    Raises
    ------
    UnsuitableInput
        If it would be too small.
    """
    check_size(n_cells, n_genes)
    path.parent.mkdir(parents=True, exist_ok=True)
    with Display(f"making {n_cells:,} cells", n_cells) as display:
        write_atlas(path, n_cells=n_cells, n_genes=n_genes, seed=seed, progress=display.advance)
    return path


def make_sample(counts: Counts, path: Path) -> Path:
    """Write some of the cells as they are stored: what is compiled for these serves all.

    Of a row-compressed matrix, cells with few entries are among them, which filters are likely to leave out as some of
    all, and cells with many, which stay where most rows are empty droplets. The column `GROUP` of obs has two groups.
    """
    adata = read_h5ad(counts.path)
    n_obs, n_vars = counts.shape
    most = SAMPLE_NBYTES // (n_vars * counts.dtype.itemsize) if counts.format == "dense" else SAMPLE_CELLS
    n = min(n_obs, max(MIN_CELLS, min(SAMPLE_CELLS, most)))
    rows = np.linspace(0, n_obs - 1, n).astype(int)
    if counts.format == "csr" and n < n_obs:
        by_length = np.argsort(np.diff(adata.X.source.row_offsets()), kind="stable")
        ends = by_length[: n // 10], by_length[-(n // 2) :]
        rows = np.concatenate([*ends, np.linspace(0, n_obs - 1, n - n // 10 - n // 2).astype(int)])
    values = adata.X[np.unique(rows)]
    values = np.asarray(values) if counts.format == "dense" else values.asformat(counts.format)
    obs = pd.DataFrame({GROUP: pd.Categorical(np.where(np.arange(values.shape[0]) % 2, "a", "b"))})
    obs.index = obs.index.astype(str)
    sample = ad.AnnData(values, obs=obs, var=adata.var[[]])
    sample.write_h5ad(path, compression=counts.compression if counts.compression in {"gzip", "lzf"} else None)
    return path
