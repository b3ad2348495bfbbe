"""Variances of clipped Pearson residuals, in arrays."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ..pearson import PearsonVariances
from .form import SummedForm, array_form

if TYPE_CHECKING:
    from .block import ArrayBlock
    from .device import Array

__all__: list[str] = []

CELLS = 2**22
"""Residuals of zeros that are computed at a time."""


@array_form(PearsonVariances)
class ArrayPearsonVariances(SummedForm):
    """See :class:`~scanpy_oom.passes.PearsonVariances`."""

    takes_background = False

    def begin(self) -> None:
        model, xp = self.reduction._model, self.xp
        self.gene_sums, self.grand_totals = xp.asarray(model.gene_sums), xp.asarray(model.grand_totals)
        # a last place for what is zero
        self.shape = (2, int(model.gene_sums.size) + 1)
        super().begin()

    def expected(self, genes: Array, cells: Array, grand_totals: Array) -> tuple[Array, Array]:
        """Return what is expected of counts, and their standard deviation."""
        model = self.reduction._model
        if model.single:
            genes, cells = genes.astype(np.float32), cells.astype(np.float32)
        mu = (genes * cells).astype(np.float64) / grand_totals
        return mu, self.xp.sqrt(mu + mu * mu / model.theta)

    def update(self, block: ArrayBlock) -> None:
        model, xp, x = self.reduction._model, self.xp, block.values
        batches = block.of_rows(model.codes)[block.rows]
        cells = block.of_rows(model.cell_totals)[block.rows]
        with np.errstate(all="ignore"):  # of what is zero
            mu, scale = self.expected(self.gene_sums[batches, block.indices], cells, self.grand_totals[batches])
            here, without = (xp.clip(y / scale, -model.clip, model.clip) for y in (x - mu, -mu))
        places = xp.where(x != 0, batches * block.n_columns + block.indices, self.shape[1] - 1)
        changes = here - without, here * here - without * without
        for out, change in zip(self.partial, changes, strict=True):
            self.scatter(out, places, change)

    def finish(self) -> Any:
        shape = self.reduction._model.gene_sums.shape
        return np.ascontiguousarray(np.moveaxis(self.summed()[:, :-1].reshape(2, *shape), 0, 2))

    def result(self, total: np.ndarray) -> Any:
        return self.reduction.variances(total, self.of_zeros)

    def of_zeros(self, model: Any, batch: int, cell_totals: np.ndarray) -> np.ndarray:
        """Sum residuals and their squares over the cells of a batch, were there no counts, `(2, n_columns)`."""
        xp = self.xp
        distinct, counts = np.unique(cell_totals, return_counts=True)
        cells, weights = xp.asarray(distinct)[:, None], xp.asarray(counts.astype(np.float64))
        genes, out = self.gene_sums[batch], []
        step = max(1, CELLS // max(distinct.size, 1))
        for start in range(0, genes.size, step):
            with np.errstate(all="ignore"):  # of genes without counts
                mu, scale = self.expected(genes[None, start : start + step], cells, self.grand_totals[batch])
                residuals = xp.clip(-mu / scale, -model.clip, model.clip)
            out.append(xp.stack([weights @ residuals, weights @ (residuals * residuals)]))
        found = self.device.fetch(xp.concatenate(out, axis=1))
        self.device.mark()()
        return found

    def nbytes(self) -> int:
        return 4 * int(self.reduction.partial_nbytes()) + 6 * 8 * CELLS
