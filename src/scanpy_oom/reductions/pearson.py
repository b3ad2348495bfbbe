"""Variances of clipped Pearson residuals, without a residual of every cell and gene."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ..engine.array_implementation import SummedImplementation, implements
from ..engine.reduction import Reduction
from ..kernels import pearson_deviations, pearson_zeros
from ..settings import settings

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ..engine.block import Block
    from ..engine.device.block import ArrayBlock
    from ..engine.device.device import Array
    from ..matrix import OOMMatrix

__all__ = ["PearsonModel", "PearsonVariances"]

_GENES = 256
"""Genes that a thread takes at a time."""

_CELLS = 2**22
"""Residuals of zeros that a device computes at a time."""


@dataclass(frozen=True, slots=True, eq=False)
class PearsonModel:
    """Expected counts by batch, if every cell were a sample of the same genes with its own total.

    It is the spec of :class:`PearsonVariances`.

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
"""Function of the model, a batch and the totals of its cells: sums of residuals and squares, `(2, n_columns)`."""


class PearsonVariances(Reduction):
    """Variance of the clipped residuals of each column within batches, `(n_batches, n_columns)`; 0 where nothing is.

    All zeros of a gene are integrated over the distinct totals of cells; the pass adds what the counts make different.

    Parameters
    ----------
    model
        What is expected.
    """

    spec: PearsonModel

    def __init__(self, model: PearsonModel) -> None:
        self.spec = model

    def prepare(self, matrix: OOMMatrix) -> None:
        return None

    def partial(self) -> NDArray[np.float64]:
        return np.zeros((*self.spec.gene_sums.shape, 2))

    def partial_nbytes(self) -> int:
        return 16 * self.spec.gene_sums.size

    def update(self, partial: NDArray[np.float64], block: Block) -> None:
        model = self.spec
        codes, totals = model.codes[block.positions], model.cell_totals[block.positions]
        sums, grand = model.gene_sums, model.grand_totals
        theta, clip, single = model.theta, model.clip, model.single
        for rows, entries in block.entries(full=block.fill_values.size > 0):
            pearson_deviations(*entries, codes[rows], totals[rows], sums, grand, theta, clip, single, partial)

    def merge(self, total: NDArray[np.float64], partial: NDArray[np.float64]) -> NDArray[np.float64]:
        total += partial
        return total

    def result(self, total: NDArray[np.float64]) -> NDArray[np.float64]:
        return _variances(self.spec, total, _of_zeros)


def _variances(model: PearsonModel, total: NDArray[np.float64], of_zeros: OfZeros) -> NDArray[np.float64]:
    """Return the variances, from by how much counts make sums different and what gives these were there none."""
    variances = np.zeros(model.gene_sums.shape)
    for batch, deviations in enumerate(total):
        of_batch = model.codes == batch
        sums = of_zeros(model, batch, model.cell_totals[of_batch]) + deviations.T
        n = np.count_nonzero(of_batch)
        mean, mean_squared = sums / n
        # one cell has no variance, not even one of rounding, by which scanpy would rank genes
        found = np.maximum(mean_squared - mean**2, 0) if n > 1 else mean - mean
        variances[batch] = np.where(model.gene_sums[batch] != 0, found, 0)
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
        found = np.hstack(list(pool.map(some, range(0, max(genes.size, 1), _GENES))))
    return found[:, inverse.reshape(-1)]


@implements(PearsonVariances)
class ArrayPearsonVariances(SummedImplementation[PearsonModel, "NDArray[np.float64]"]):
    """Array implementation of :class:`PearsonVariances`."""

    takes_fill_values = False
    copies = 5

    def sums_shape(self) -> tuple[int, ...]:
        return 2, self.spec.gene_sums.size + 1  # a last place for what is zero

    def begin(self, host: NDArray[np.float64]) -> None:
        xp = self.xp
        self.gene_sums, self.grand_totals = xp.asarray(self.spec.gene_sums), xp.asarray(self.spec.grand_totals)
        super().begin(host)

    def expected(self, genes: Array, cells: Array, grand_totals: Array) -> tuple[Array, Array]:
        """Return what is expected of counts, and their standard deviation."""
        if self.spec.single:
            genes, cells = genes.astype(np.float32), cells.astype(np.float32)
        mu = (genes * cells).astype(np.float64) / grand_totals
        return mu, self.xp.sqrt(mu + mu * mu / self.spec.theta)

    def update(self, block: ArrayBlock) -> None:
        model, xp, x = self.spec, self.xp, block.values
        batches = block.of_rows(model.codes)[block.rows]
        cells = block.of_rows(model.cell_totals)[block.rows]
        with np.errstate(all="ignore"):  # of what is zero
            mu, scale = self.expected(self.gene_sums[batches, block.indices], cells, self.grand_totals[batches])
            here, without = (xp.clip(y / scale, -model.clip, model.clip) for y in (x - mu, -mu))
        places = xp.where(x != 0, batches * block.n_columns + block.indices, model.gene_sums.size)
        changes = here - without, here * here - without * without
        for out, change in zip(self.partial, changes, strict=True):
            self.scatter(out, places, change)

    def finish(self) -> NDArray[np.float64]:
        return np.ascontiguousarray(np.moveaxis(self.summed()[:, :-1].reshape(2, *self.spec.gene_sums.shape), 0, 2))

    def result(self, total: NDArray[np.float64], on_host: object) -> NDArray[np.float64]:
        return _variances(self.spec, total, self.of_zeros)

    def of_zeros(self, model: PearsonModel, batch: int, cell_totals: NDArray[np.float64]) -> NDArray[np.float64]:
        """Sum residuals and their squares over the cells of a batch, were there no counts, `(2, n_columns)`."""
        xp = self.xp
        distinct, counts = np.unique(cell_totals, return_counts=True)
        cells, weights = xp.asarray(distinct)[:, None], xp.asarray(counts.astype(np.float64))
        genes, out = self.gene_sums[batch], []
        step = max(1, _CELLS // max(distinct.size, 1))
        for start in range(0, genes.size, step):
            with np.errstate(all="ignore"):  # of genes without counts
                mu, scale = self.expected(genes[None, start : start + step], cells, self.grand_totals[batch])
                residuals = xp.clip(-mu / scale, -model.clip, model.clip)
            out.append(xp.stack([weights @ residuals, weights @ (residuals * residuals)]))
        return self.fetched(xp.concatenate(out, axis=1))

    def workspace_nbytes(self) -> int:
        return 6 * 8 * _CELLS
