"""Leading eigenpairs of the Gram matrix of a matrix's columns, held explicitly or applied by streaming passes."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy import linalg

from ...engine.compute import compute
from ...engine.explain import plan
from ...engine.runtime.large_arrays import mapped_zeros
from ...kernels import unpack_symmetric
from ...memory.ledger import ACCOUNTANT
from ...reductions import ClassSums, Gram, GramProduct, LeftProduct
from ...settings import settings
from .lapack import leading_eigh

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from ...matrix import OOMMatrix

__all__ = [
    "Decomposition",
    "ExplicitGram",
    "GramOperator",
    "PlannedGram",
    "StreamedGram",
    "leading_eigenpairs",
    "randomized_decomposition",
]

BAND = 256

TOLERANCE = 1e-8
"""Residual, relative to its eigenvalue, at which an eigenpair counts as found."""


@dataclass(frozen=True, slots=True, eq=False)
class Decomposition:
    """Leading singular triplets of a matrix A.

    Parameters
    ----------
    components
        `(k, n_columns)` right singular vectors, in rows.
    singular_values
        `(k,)`, decreasing.
    projection
        `(n_columns, k)`: A @ projection are the left singular vectors times their values.
    """

    components: NDArray[np.float64]
    singular_values: NDArray[np.float64]
    projection: NDArray[np.float64]


class GramOperator(ABC):
    """A.T @ A of a matrix A, which may be a matrix less its column means.

    Parameters
    ----------
    matrix
        The matrix.
    mean
        `(n_columns,)` taken off its columns; None not to centre.
    """

    def __init__(self, matrix: OOMMatrix, mean: NDArray[np.float64] | None) -> None:
        self.matrix = matrix
        self.mean = mean
        self.shape = matrix.shape

    @abstractmethod
    def __matmul__(self, dense: NDArray[np.float64]) -> NDArray[np.float64]:
        """Multiply a dense `(n_columns, k)`."""

    def left_product(self, dense: NDArray[np.float64]) -> NDArray[np.float64]:
        """A.T @ dense, for a dense `(n_rows, k)`: one pass."""
        product = compute(self.matrix, LeftProduct(dense), assume=plan.of_no_rows)
        return product if self.mean is None else product - np.outer(self.mean, dense.sum(axis=0))


class ExplicitGram(GramOperator):
    """The Gram matrix itself, from one pass. For some thousands of columns.

    Parameters
    ----------
    matrix
        The matrix.
    center
        Whether to take off the column means.
    """

    def __init__(self, matrix: OOMMatrix, *, center: bool) -> None:
        n_rows, n_columns = matrix.shape
        # beside the partial results, which are its upper triangle, the whole
        packed, class_sums = compute(matrix, Gram(), ClassSums(), reuse=True, workspace=8 * n_columns**2)
        gram = mapped_zeros((n_columns, n_columns))
        ACCOUNTANT.hold(gram, "workspace", gram.nbytes)
        unpack_symmetric(packed, gram)
        del packed
        fill_values = matrix.chain.fill_values
        column_sums, constant = class_sums.sum(axis=0), 0.0
        if fill_values is not None and center and len(fill_values.values) == 1:
            constant = fill_values.values[0]  # which centring takes off again, and so it is never added
        elif fill_values is not None:
            _add_fill_values(gram, fill_values.values, fill_values.class_counts(n_rows), class_sums)
            column_sums = column_sums + fill_values.class_counts(n_rows) @ fill_values.values
        mean = column_sums / n_rows
        super().__init__(matrix, mean + constant if center else None)
        self.column_mean = mean + constant
        self.uncentered_trace = float(np.trace(gram))
        if np.any(constant):  # infinite sums times zero are no number
            self.uncentered_trace += float(((2 * column_sums + n_rows * constant) * constant).sum())
        if center:
            for band in _bands(gram):
                gram[band] -= np.outer(column_sums[band], mean)
        self.gram: NDArray[np.float64] = gram

    def __matmul__(self, dense: NDArray[np.float64]) -> NDArray[np.float64]:
        return self.gram @ dense


def _add_fill_values(
    gram: NDArray[np.float64], values: NDArray[np.float64], counts: NDArray[np.int64], class_sums: NDArray[np.float64]
) -> None:
    """Make the Gram matrix of sparse parts that of the matrix.

    With a row's sparse part s and fill values z: (s + z)(s + z)' = ss' + sz' + zs' + zz', summed by class.
    """
    for band in _bands(gram):
        gram[band] += class_sums.T[band] @ values + values.T[band] @ class_sums
        gram[band] += (values.T[band] * counts) @ values


def _bands(matrix: NDArray[np.float64]) -> Iterator[slice]:
    """Yield runs of rows, so that what is computed by them stays small."""
    for start in range(0, matrix.shape[0], BAND):
        yield slice(start, min(start + BAND, matrix.shape[0]))


class PlannedGram(GramOperator):
    """Stands for a Gram matrix that a plan does not have, as if it were the identity."""

    def __matmul__(self, dense: NDArray[np.float64]) -> NDArray[np.float64]:
        return dense


class StreamedGram(GramOperator):
    """The Gram matrix as an operator: one pass a product. For any number of columns.

    Parameters
    ----------
    matrix, mean
        As for any.
    basis
        Bytes of the vectors that are held where products are asked for until the pairs have converged. None where
        their number is known beforehand.
    """

    def __init__(self, matrix: OOMMatrix, mean: NDArray[np.float64] | None, basis: int | None = None) -> None:
        super().__init__(matrix, mean)
        self._basis = basis

    def __matmul__(self, dense: NDArray[np.float64]) -> NDArray[np.float64]:
        product = GramProduct(dense, self.mean)
        if self._basis is None:
            return compute(self.matrix, product, workspace=3 * dense.nbytes, assume=lambda _: [[dense]])
        return compute(self.matrix, product, workspace=self._basis, repeats=dense.shape[1] < dense.shape[0])


def leading_eigenpairs(gram: GramOperator, k: int, random: np.random.RandomState, max_basis: int) -> Decomposition:
    """Compute the `k` leading eigenpairs of a Gram matrix, to convergence.

    Parameters
    ----------
    gram
        The Gram matrix.
    k
        Number of pairs.
    random
        Where the start of the iteration is drawn from.
    max_basis
        Vectors that may be held, before the iteration is restarted from the best of them.

    Notes
    -----
    An explicit matrix goes to LAPACK, which overwrites it. Otherwise: block Lanczos with full orthogonalisation and
    thick restart (Wu and Simon, 2000), one pass a block. Blocks are narrow: of 30,000 genes, a block of 60 vectors took
    56 passes and one of 10 took 66, of which each is four times as fast.
    """
    if isinstance(gram, PlannedGram):
        plan.end()
    if isinstance(gram, ExplicitGram):
        values, vectors = _leading_eigh(gram.gram, k)
        return _decomposition(values[::-1], vectors[:, ::-1])
    return _decomposition(*_block_lanczos(gram, k, random, max_basis))


def _leading_eigh(matrix: NDArray[np.float64], k: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    if settings.device != "cpu":
        from ...engine.device.choice import chosen_device
        from ...engine.device.eigen import leading_eigh as leading_eigh_on_device

        if (device := chosen_device()) is not None and (found := leading_eigh_on_device(matrix, k, device)) is not None:
            return found
    return leading_eigh(matrix, k)


def _decomposition(values: NDArray[np.float64], vectors: NDArray[np.float64]) -> Decomposition:
    return Decomposition(vectors.T.copy(), np.sqrt(np.maximum(values, 0)), vectors)


def _orthonormal(block: NDArray[np.float64]) -> NDArray[np.float64]:
    return linalg.qr(block, mode="economic", check_finite=False)[0]


def _lanczos_width(k: int, n: int) -> int:
    """Return how many vectors a pass multiplies: many cost more than the reading, and few gain as much a vector."""
    return min(max(k // 5, 8), n)


def _block_lanczos(
    gram: GramOperator, k: int, random: np.random.RandomState, max_basis: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    n = gram.shape[1]
    width = _lanczos_width(k, n)
    max_basis = min(max(max_basis, k + 4 * width), n)
    basis = np.empty((n, max_basis), order="F")
    projected, before = np.empty((0, 0)), None
    block = _orthonormal(random.standard_normal((n, width)))
    while True:
        m, b = len(projected) + block.shape[1], block.shape[1]
        basis[:, m - b : m] = block
        held = basis[:, :m]
        product = gram @ block
        # twice is enough for orthogonality to working precision
        coefficients = held.T @ product
        rest = product - held @ coefficients
        rest -= held @ (held.T @ rest)
        projected = _grown(projected, coefficients)
        values, vectors = linalg.eigh(projected)
        values, vectors = values[::-1], vectors[:, ::-1]
        following, lengths, coupling = linalg.svd(rest, full_matrices=False, check_finite=False)
        residuals = np.linalg.norm((lengths[:, None] * coupling) @ vectors[m - b :, :k], axis=0)
        rounding = np.finfo(float).eps * n * max(values[0], 0.0)
        found = m >= k and (residuals <= np.maximum(TOLERANCE * values[:k], rounding)).all()
        # directions that the basis holds already, but for rounding, lead nowhere new: others may, to an eigenvalue of
        # which there are more than vectors in a block; until they change nothing
        stale = lengths <= rounding
        settled = not stale.any() or (before is not None and np.allclose(values[:k], before, 1e-12, rounding))
        if m >= n or (found and settled):
            return values[:k], held @ vectors[:, :k]
        before = values[:k] if found else None
        following[:, stale] = random.standard_normal((n, int(stale.sum())))
        block = following[:, : n - m]
        if m + block.shape[1] > max_basis:
            kept = min(k + max(k // 2, width), m - b)
            basis[:, :kept] = held @ vectors[:, :kept]
            projected, held = np.diag(values[:kept]), basis[:, :kept]
        for _ in range(2):
            block = _orthonormal(block - held @ (held.T @ block))


def _grown(projected: NDArray[np.float64], coefficients: NDArray[np.float64]) -> NDArray[np.float64]:
    """Add the last columns, and rows, to a symmetric matrix."""
    m, b = coefficients.shape
    grown = np.zeros((m, m))
    grown[: m - b, : m - b] = projected
    grown[:, m - b :] = coefficients
    grown[m - b :, :] = coefficients.T
    return (grown + grown.T) / 2


def randomized_decomposition(
    gram: GramOperator, k: int, random: np.random.RandomState, *, n_iter: int, single: bool, n_oversamples: int = 10
) -> Decomposition:
    """Compute the randomized SVD that scikit-learn gives for the same draws, from products with the Gram matrix.

    scikit-learn alternates between products with the matrix and with its transpose. The space that it reaches is
    spanned by powers of the Gram matrix times the draws (Halko et al., 2009), so that the same result follows from
    `n_iter + 1` products.

    Parameters
    ----------
    gram
        The Gram matrix.
    k, n_iter, n_oversamples
        Arguments of :func:`sklearn.utils.extmath.randomized_svd`.
    random
        Where the draws come from.
    single
        Whether draws are rounded to float32, as scikit-learn does for such data.
    """
    n_rows, n_columns = gram.shape
    transposed = n_rows < n_columns
    draws = random.normal(size=(n_rows if transposed else n_columns, k + n_oversamples))
    if single:
        draws = draws.astype(np.float32).astype(np.float64)
    basis = gram.left_product(draws) if transposed else draws
    for _ in range(n_iter):
        basis = _orthonormal(gram @ basis)
    if transposed:
        basis = _orthonormal(basis)
        values, vectors = linalg.eigh(basis.T @ (gram @ basis))
        return _decomposition(values[::-1][:k], (basis @ vectors[:, ::-1])[:, :k])
    basis = _orthonormal(basis)
    image = gram @ basis
    upper = linalg.cholesky(_positive(basis.T @ image))
    small = linalg.solve_triangular(upper, image.T, trans="T")
    left, values, components = linalg.svd(small, full_matrices=False)
    projection = basis @ linalg.solve_triangular(upper, left[:, :k] * values[:k])
    return Decomposition(components[:k], values[:k], projection)


def _positive(symmetric: NDArray[np.float64]) -> NDArray[np.float64]:
    """Lift a positive semidefinite matrix just enough for a Cholesky factor to exist."""
    return symmetric + np.eye(symmetric.shape[0]) * np.finfo(float).eps * np.trace(symmetric)
