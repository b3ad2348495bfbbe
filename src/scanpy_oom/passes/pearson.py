"""Variances of clipped Pearson residuals, without a residual of every cell and gene."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ..kernels import pearson_deviations, pearson_zeros
from ..settings import settings
from .reductions import Reduction

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ..matrix import OOMMatrix
    from .block import Block

__all__ = ["PearsonModel", "PearsonVariances"]

_GENES = 256
"""Genes that a thread takes at a time."""


@dataclass(frozen=True, slots=True, eq=False)
class PearsonModel:
    """What is expected of counts, by batch: as if every cell were a sample of the same genes, but for its total.

    Parameters
    ----------
    codes
        `(n_rows,)` batch of each cell.
    cell_totals
        `(n_rows,)` sum of each cell.
    gene_sums
        `(n_batches, n_columns)` sums of genes.
    grand_totals
        `(n_batches,)` sums of all.
    theta
        Overdispersion.
    clip
        Bound of the residuals' absolute values.
    single
        Whether products of the sums are rounded to single precision.
    """

    codes: NDArray[np.int64]
    cell_totals: NDArray[np.float64]
    gene_sums: NDArray[np.float64]
    grand_totals: NDArray[np.float64]
    theta: float
    clip: float
    single: bool


OfZeros = Callable[[PearsonModel, int, "NDArray[np.float64]"], "NDArray[np.float64]"]
"""Of the model, a batch and the totals of its cells: sums of residuals and their squares, `(2, n_columns)`."""


class PearsonVariances(Reduction):
    """Variance of the clipped residuals of each column within batches, `(n_batches, n_columns)`; 0 where nothing is.

    All zeros of a gene are integrated over the distinct totals of cells; the pass adds what the counts make different.

    Parameters
    ----------
    model
        What is expected.
    """

    def __init__(self, model: PearsonModel) -> None:
        self._model = model

    def prepare(self, matrix: OOMMatrix) -> None:
        return None

    def partial(self) -> NDArray[np.float64]:
        return np.zeros((*self._model.gene_sums.shape, 2))

    def partial_nbytes(self) -> int:
        return 16 * self._model.gene_sums.size

    def update(self, partial: NDArray[np.float64], block: Block) -> None:
        model = self._model
        indptr, indices, values = block.indptr, block.indices, block.values
        if block.background.size:
            values = block.toarray().ravel()
            indptr = np.arange(block.n_rows + 1, dtype=np.int64) * block.n_columns
            indices = np.tile(np.arange(block.n_columns, dtype=np.int32), block.n_rows)
        codes, totals = model.codes[block.positions], model.cell_totals[block.positions]
        expected = (codes, totals, model.gene_sums, model.grand_totals, model.theta, model.clip, model.single)
        pearson_deviations(indptr, indices, values, *expected, partial)

    def merge(self, total: NDArray[np.float64], partial: NDArray[np.float64]) -> NDArray[np.float64]:
        total += partial
        return total

    def result(self, total: NDArray[np.float64]) -> NDArray[np.float64]:
        return self.variances(total, _of_zeros)

    def variances(self, total: NDArray[np.float64], of_zeros: OfZeros) -> NDArray[np.float64]:
        """Return the variances, from by how much counts make sums different and what gives these were there none."""
        variances = np.zeros(self._model.gene_sums.shape)
        for batch, deviations in enumerate(total):
            of_batch = self._model.codes == batch
            sums = of_zeros(self._model, batch, self._model.cell_totals[of_batch]) + deviations.T
            mean, mean_squared = sums / np.count_nonzero(of_batch)
            found = np.maximum(mean_squared - mean**2, 0)
            variances[batch] = np.where(self._model.gene_sums[batch] != 0, found, 0)
        return variances


def _of_zeros(model: PearsonModel, batch: int, cell_totals: NDArray[np.float64]) -> NDArray[np.float64]:
    """Sums of residuals and of their squares over the cells of a batch, were there no counts, `(2, n_columns)`.

    Equal sums of genes have equal results, and are gone through once.
    """
    totals, weights = np.unique(cell_totals, return_counts=True)
    genes, inverse = np.unique(model.gene_sums[batch], return_inverse=True)
    rest = (totals, weights.astype(np.float64), model.grand_totals[batch], model.theta, model.clip, model.single)

    def some(first: int) -> NDArray[np.float64]:
        part = genes[first : first + _GENES]
        out = np.empty((2, part.size))
        pearson_zeros(part, *rest, out)
        return out

    with ThreadPoolExecutor(settings.n_threads, thread_name_prefix="scanpy-oom") as pool:
        found = np.hstack(list(pool.map(some, range(0, genes.size, _GENES))))
    return found[:, inverse.reshape(-1)]
