"""Count matrices in the HDF5 files of Cell Ranger: genes by cells by columns, which is cells by genes by rows."""

from __future__ import annotations

from typing import TYPE_CHECKING

import h5py
import numpy as np

from ...errors import CorruptFileError
from ..arrays.blocks import CSRBlock
from ..sources.csr import CSRSource
from .file import SourceFile
from .links import check_links

if TYPE_CHECKING:
    import os
    from collections.abc import Callable

    from numpy.typing import NDArray

    from ..sources.base import Source
    from .file import Stamp

__all__ = ["TenXSource", "open_tenx", "write_without_counts"]

_COUNTS = {"data", "indices", "indptr"}


class TenXSource(CSRSource):
    """A count matrix in a file of Cell Ranger, cells by genes.

    Parameters
    ----------
    file
        The file, which from here on belongs to the source.
    group
        The group that holds the matrix, open with h5py; only its description is kept.
    """

    def __init__(self, file: SourceFile, group: h5py.Group) -> None:
        n_genes, n_cells = _shape(file.path, group)
        super().__init__(file, group, (n_cells, n_genes))
        self._is_int32 = self.dtype == np.int32
        if self._is_int32:  # scanpy makes these single-precision numbers, and leaves others as they are
            self.dtype = np.dtype(np.float32)

    def read_rows(self, rows: slice | NDArray[np.int64]) -> CSRBlock:
        """Fetch rows."""
        block = super().read_rows(rows)
        return CSRBlock(block.indptr, block.indices, block.data.astype(np.float32)) if self._is_int32 else block

    def __reduce__(self) -> tuple[Callable[..., Source], tuple[object, ...]]:
        return open_tenx, (str(self.path), self.name, self.container.stamp)


def open_tenx(path: str | os.PathLike[str], name: str = "/matrix", stamp: Stamp | None = None) -> TenXSource:
    """Open the count matrix in the group `name` of a file of Cell Ranger.

    Raises
    ------
    CorruptFileError
        If the file is damaged, or does not have the stamp.
    """
    file = SourceFile(path, stamp)
    with file.library(name) as h5:
        check_links(file.path, h5)
        return TenXSource(file, h5[name])


def _shape(path: str | os.PathLike[str], group: h5py.Group) -> tuple[int, int]:
    shape = np.asarray(group["shape"])
    if shape.shape != (2,) or shape.dtype.kind not in "iu" or not 0 <= shape.min() <= shape.max() < 2**31:
        msg = (
            f"{path}: {group.name}/shape is {shape.tolist()}; the numbers of genes and of cells are expected. "
            "The file is damaged; fetch or write it again."
        )
        raise CorruptFileError(msg)
    _check_names(path, group, {"genes": int(shape[0]), "features/id": int(shape[0]), "barcodes": int(shape[1])})
    return int(shape[0]), int(shape[1])


def _check_names(path: str | os.PathLike[str], group: h5py.Group, expected: dict[str, int]) -> None:
    for name, n in expected.items():
        if name in group and group[name].shape != (n,):
            msg = (
                f"{path}: {group.name}/{name} has the shape {group[name].shape}; the matrix needs ({n},). "
                "The file is damaged; fetch or write it again."
            )
            raise CorruptFileError(msg)


def write_without_counts(h5: h5py.File, path: str | os.PathLike[str]) -> None:
    """Write a copy of a file of Cell Ranger whose counts say where they stand and nothing else.

    In each matrix the first cell has 1 for the first gene, 2 for the second, and so on, and the others have nothing: so
    what is left of its first row once genes have been selected tells which these are.
    """
    with h5py.File(path, "w") as copy:
        _copy_without_counts(h5, copy)


def _copy_without_counts(source: h5py.Group, target: h5py.Group) -> None:
    for key, element in source.items():
        if isinstance(element, h5py.Group):
            _copy_without_counts(element, target.create_group(key))
        elif not ("shape" in source and key in _COUNTS):
            source.copy(element, target, key)
    if "shape" in source and source.keys() >= _COUNTS:
        n_genes, n_cells = _shape(source.file.filename, source)
        stored = n_genes if n_cells else 0
        target["data"] = np.arange(1, stored + 1, dtype=np.int64)
        target["indices"] = np.arange(stored, dtype=np.int32)
        target["indptr"] = np.concatenate([[0], np.full(n_cells, stored, dtype=np.int64)])
