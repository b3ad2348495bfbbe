"""Analytic Pearson residuals of counts, and their sums over cells (Lause et al., 2021).

The residual of a count depends on it, the total of its cell and the sum of its gene alone. Where there is no count it
depends on the two sums: cells of equal totals are taken together.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numba as nb
import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["pearson_deviations", "pearson_residuals", "pearson_zeros"]

_GENES = 256
"""Genes that are gone through at a time, whose sums stay near the core."""


@nb.njit(nogil=True, cache=True, error_model="numpy")
def pearson_zeros(
    gene_sums: NDArray[np.float64],
    totals: NDArray[np.float64],
    weights: NDArray[np.float64],
    grand_total: float,
    theta: float,
    clip: float,
    single: bool,  # noqa: FBT001
    out: NDArray[np.float64],
) -> None:
    """Sum the clipped residuals of genes over cells, were there no counts.

    Parameters
    ----------
    gene_sums
        `(n_genes,)` sum of each gene.
    totals, weights
        `(n_totals,)` totals of cells, and how many cells have each.
    grand_total
        Sum of all counts.
    theta
        Overdispersion.
    clip
        Bound of the residuals' absolute values.
    single
        Whether the product of two sums is rounded to single precision.
    out
        `(2, n_genes)`, written: sums of residuals and of their squares.
    """
    for first in range(0, gene_sums.size, _GENES):
        genes = gene_sums[first : first + _GENES]
        total, squared = out[0, first : first + _GENES], out[1, first : first + _GENES]
        total[:] = 0.0
        squared[:] = 0.0
        for t in range(totals.size):
            cell, weight = totals[t], weights[t]
            for j in range(genes.size):
                product = np.float64(np.float32(genes[j]) * np.float32(cell)) if single else genes[j] * cell
                mu = product / grand_total
                residual = -mu / np.sqrt(mu + mu * mu / theta)
                residual = clip if residual > clip else -clip if residual < -clip else residual
                total[j] += weight * residual
                squared[j] += weight * (residual * residual)


@nb.njit(nogil=True, cache=True, error_model="numpy")
def pearson_deviations(  # noqa: PLR0913
    indptr: NDArray[np.int64],
    indices: NDArray[np.int32],
    values: NDArray[np.float64],
    codes: NDArray[np.int64],
    cell_totals: NDArray[np.float64],
    gene_sums: NDArray[np.float64],
    grand_totals: NDArray[np.float64],
    theta: float,
    clip: float,
    single: bool,  # noqa: FBT001
    out: NDArray[np.float64],
) -> None:
    """Add by how much clipped residuals of counts, and their squares, are more than were there no counts.

    Parameters
    ----------
    indptr, indices, values
        Block of rows, row-compressed.
    codes
        `(n_rows,)` batch of each row.
    cell_totals
        `(n_rows,)` totals of the rows.
    gene_sums
        `(n_batches, n_genes)` sums of genes.
    grand_totals
        `(n_batches,)` sums of all counts.
    theta, clip, single
        As of :func:`pearson_zeros`.
    out
        `(n_batches, n_genes, 2)`, added to.
    """
    for i in range(indptr.size - 1):
        batch, cell = codes[i], cell_totals[i]
        grand_total = grand_totals[batch]
        for p in range(np.uint64(indptr[i]), np.uint64(indptr[i + 1])):
            x = values[p]
            if x == 0:
                continue
            j = np.uint32(indices[p])
            gene = gene_sums[batch, j]
            product = np.float64(np.float32(gene) * np.float32(cell)) if single else gene * cell
            mu = product / grand_total
            scale = np.sqrt(mu + mu * mu / theta)
            here, without = (x - mu) / scale, -mu / scale
            here = clip if here > clip else -clip if here < -clip else here
            without = clip if without > clip else -clip if without < -clip else without
            sums = out[batch, j]
            sums[0] += here - without
            sums[1] += here * here - without * without


@nb.njit(nogil=True, cache=True, error_model="numpy")
def pearson_residuals(
    values: NDArray[np.float64],
    cell_totals: NDArray[np.float64],
    gene_sums: NDArray[np.float64],
    grand_total: float,
    theta: float,
    single: bool,  # noqa: FBT001
    out: NDArray[np.float64],
) -> None:
    """Write the residuals of all `values`, `(n_rows, n_genes)`, not clipped, to `out`.

    Where `single` is set, each step is rounded to single precision.
    """
    for i in range(values.shape[0]):
        cell = cell_totals[i]
        if single:
            for j in range(values.shape[1]):
                mu = np.float32(cell) * np.float32(gene_sums[j]) / np.float32(grand_total)
                variance = mu + mu * mu / np.float32(theta)
                out[i, j] = (np.float32(values[i, j]) - mu) / np.sqrt(variance)
        else:
            for j in range(values.shape[1]):
                mu = cell * gene_sums[j] / grand_total
                out[i, j] = (values[i, j] - mu) / np.sqrt(mu + mu * mu / theta)
