"""Writing a matrix in a pass: blocks are read and transformed on threads, written in the order of the rows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import sparse

from ..io.write import ArrayWriter, CSRWriter
from .reductions import Reduction

if TYPE_CHECKING:
    from collections.abc import Mapping

    import h5py

    from ..matrix import OOMMatrix
    from .block import Block

__all__ = ["Write"]


class Write(Reduction):
    """Writes the values of a matrix whose rows are in the order of the source.

    Parameters
    ----------
    parent, name
        Where it goes.
    dataset_kwargs
        What h5py is given for each dataset.
    """

    in_order = True
    is_final = True

    def __init__(self, parent: h5py.Group, name: str, dataset_kwargs: Mapping[str, Any]) -> None:
        self._target = (parent, name)
        self._dataset_kwargs = dataset_kwargs

    def prepare(self, matrix: OOMMatrix) -> None:
        self._dense = matrix.is_dense
        arguments = (*self._target, matrix.shape, matrix.dtype, self._dataset_kwargs)
        self._writer: Any = ArrayWriter(*arguments) if self._dense else CSRWriter(*arguments)
        columns = matrix.selection.columns
        self._sorts = columns is not None and bool((np.diff(columns) < 0).any())

    def partial(self) -> None:
        return None

    def update(self, partial: None, block: Block) -> None:
        if self._dense:
            for _, rows in block.dense_rows():
                self._writer.append(rows)
            return
        indptr, indices, values = block.indptr, block.indices, block.values
        if block.background.size or self._sorts:
            shape = (block.n_rows, block.n_columns)
            whole = sparse.csr_matrix(
                block.toarray() if block.background.size else (values, indices, indptr), shape=shape
            )
            whole.sort_indices()
            indptr, indices, values = whole.indptr, whole.indices, whole.data
        self._writer.append(indptr, indices, values)

    def merge(self, total: None, partial: None) -> None:
        return None

    def result(self, total: None) -> None:
        if not self._dense:
            self._writer.close()
