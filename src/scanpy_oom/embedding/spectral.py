"""Spectral layout: the leading eigenvectors of a graph's normalised adjacency matrix, as a start for UMAP.

Chebyshev-filtered subspace iteration (Zhou and Saad, 2007): a polynomial of the matrix raises the wanted vectors above
the others, Rayleigh and Ritz tell them apart, and what they find tells the next polynomial where the others end. It
needs three panels of vectors where Lanczos would need hundreds of vectors, and products alone, which all threads share.
"""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from scipy import linalg

from ..engine.runtime.blas import one_blas_thread
from ..engine.runtime.threads import loops
from ..kernels import chebyshev_step, degrees, subtract_from_panel, weighted_panel_sums
from ..kernels.graph import PANEL
from ..memory.ledger import ACCOUNTANT

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from ..engine.runtime.threads import Loop
    from .graph import LayoutGraph

__all__ = ["SpectralLayout"]

DENSE = 400
"""Vertices of a component up to which its matrix is held as an array, and LAPACK finds the eigenvectors."""

GUARDS = 4
"""Vectors beyond those that are wanted: the more, the faster these converge."""

DEGREES = (12, 24, 48)
"""Degrees of the first polynomials; the last one is that of all others."""

MOST_PRODUCTS = 600
"""Products after which vectors are taken as they are: they begin a layout, and need not be exact."""

TOLERANCE = 2e-3
"""Part of its distance from 1 by which an eigenvalue changes at most, from one polynomial to the next, in the end."""

NEXT_TO_ONE = 1e-5
"""Change of an eigenvalue that is none. Parts of a graph that hardly hang together have many eigenvalues next to 1,
and it takes thousands of products to tell their vectors from each other, each of which separates such parts.
"""

CLEARED = 4
"""Products after which the trivial vector is taken off: a polynomial raises it above all others, from rounding."""

CHUNK = 16_384
"""Vertices whose vectors are added up together. Sums do not depend on threads, since this does not."""


class SpectralLayout:
    """Finds eigenvectors of components of a graph.

    Parameters
    ----------
    graph
        The graph.
    dim
        How many are wanted of each component.
    """

    def __init__(self, graph: LayoutGraph, dim: int) -> None:
        self._graph = graph
        self._dim = dim
        self._n_panels = -(-(dim + GUARDS) // PANEL)

    def of_component(self, rows: NDArray[np.int32]) -> NDArray[np.float32]:
        """Return the eigenvectors of one component, `(n_rows, dim)`, those of the largest eigenvalues but one first.

        Parameters
        ----------
        rows
            Its vertices. There are more than `dim + 1` of them.
        """
        if rows.size <= max(DENSE, 2 * PANEL * self._n_panels):
            return self._of_small(rows)
        nbytes = 2 * self._n_panels * self._graph.n_vertices * PANEL * 4
        with ACCOUNTANT.reserve(workspace=nbytes), one_blas_thread(), loops() as loop:
            return _Iteration(self._graph, self._degrees, rows, self._n_panels, loop).run(self._dim)

    @cached_property
    def _degrees(self) -> NDArray[np.float32]:
        """The sum of weights of each vertex, which is the same whatever component is looked at."""
        graph = self._graph
        found = np.zeros(graph.n_vertices, dtype=np.float32)
        with loops() as loop:
            loop(lambda a, b: degrees(graph.arrays, graph.least, a, b, found), graph.n_vertices)
        return found

    def _of_small(self, rows: NDArray[np.int32]) -> NDArray[np.float32]:
        adjacency = self._graph.connectivities[rows][:, rows].toarray().astype(np.float64)
        adjacency[adjacency < self._graph.least] = 0
        scale = 1 / np.sqrt(adjacency.sum(axis=0))
        n = rows.size
        with one_blas_thread():
            wanted = (n - 1 - self._dim, n - 2)
            _, vectors = linalg.eigh(adjacency * scale * scale[:, None], subset_by_index=wanted)
        return vectors[:, ::-1].astype(np.float32)


class _Iteration:
    """Vectors of one component while they converge. They are those of P = D^-1 W, orthogonal where D weighs vertices.

    Parameters
    ----------
    graph, weights, rows
        The graph, the sums of weights of its vertices, and the component's vertices.
    n_panels
        Panels of vectors.
    loop
        Where loops run.
    """

    def __init__(
        self, graph: LayoutGraph, weights: NDArray[np.float32], rows: NDArray[np.int32], n_panels: int, loop: Loop
    ) -> None:
        n = graph.n_vertices
        self._graph = graph
        self._rows = rows
        self._loop = loop
        self._degrees = weights
        self._vectors = [np.zeros((n, PANEL), dtype=np.float32) for _ in range(n_panels)]
        self._others = [np.zeros((n, PANEL), dtype=np.float32) for _ in range(n_panels)]
        draw = np.random.default_rng(0)
        for panel in self._vectors:
            panel[rows] = draw.standard_normal((rows.size, PANEL), dtype=np.float32)

    def run(self, dim: int) -> NDArray[np.float32]:
        """Iterate, and return the first `dim` vectors, of the symmetric matrix."""
        cut, before, products, turn = 0.5, None, 0, 0
        while True:
            degree = DEGREES[min(turn, len(DEGREES) - 1)]
            self._filter(degree, cut)
            values = self._separate()
            products, turn = products + degree + 1, turn + 1
            gaps = 1 - values[:dim]
            if before is not None and (abs(gaps - before) <= np.maximum(TOLERANCE * gaps, NEXT_TO_ONE)).all():
                break
            if products >= MOST_PRODUCTS:
                break
            before, cut = gaps, float(np.clip(values[-1], 0, 0.99999))
        first = np.concatenate([panel[self._rows] for panel in self._vectors], axis=1)[:, :dim]
        first *= np.sqrt(self._degrees[self._rows])[:, None]
        return first / np.linalg.norm(first, axis=0)

    def _filter(self, degree: int, cut: float) -> None:
        """Apply the Chebyshev polynomial that stays within -1 and 1 for eigenvalues below `cut`."""
        center, half = (cut - 1) / 2, (cut + 1) / 2
        for k in range(degree):
            if k % CLEARED == 0:
                self._clear()
            first = k == 0
            self._multiply((2 - first) / half, -(2 - first) * center / half, first - 1)

    def _clear(self) -> None:
        """Make all vectors orthogonal to the trivial one, which is constant."""
        chunks = list(self._chunks())
        total = sum(float(self._degrees[rows].sum(dtype=np.float64)) for rows in chunks)
        for panel in (*self._vectors, *self._others):
            sums = np.zeros((len(chunks), PANEL))

            def add(first: int, last: int, panel: np.ndarray = panel, sums: np.ndarray = sums) -> None:
                for c in range(first, last):
                    weighted_panel_sums(self._degrees, chunks[c], panel, sums[c])

            self._loop(add, len(chunks))
            mean = sums.sum(axis=0) / total
            for rows in chunks:
                subtract_from_panel(rows, mean, panel)

    def _multiply(self, p: float, q: float, r: float) -> None:
        """Put p * P @ vectors + q * vectors + r * others in the place of the vectors, and these in that of others."""
        graph, rows = self._graph, self._rows
        for vectors, others in zip(self._vectors, self._others, strict=True):

            def step(first: int, last: int, v: np.ndarray = vectors, o: np.ndarray = others) -> None:
                chebyshev_step(graph.arrays, graph.least, rows[first:last], v, o, (p, q, r))

            self._loop(step, rows.size)
        self._vectors, self._others = self._others, self._vectors

    def _chunks(self) -> Iterator[NDArray[np.int32]]:
        for start in range(0, self._rows.size, CHUNK):
            yield self._rows[start : start + CHUNK]

    def _separate(self) -> NDArray[np.float64]:
        """Make the vectors orthogonal to each other and to the trivial one, eigenvectors as far as they reach.

        Returns
        -------
        Their eigenvalues, largest first.
        """
        self._rotate(self._orthonormal())
        self._multiply(1, 0, 0)  # so that the vectors are others now, and their products vectors
        n = PANEL * len(self._vectors)
        projected = np.zeros((n, n))
        for rows in self._chunks():
            weights = self._degrees[rows].astype(np.float64)[:, None]
            projected += (_wide(self._others, rows) * weights).T @ _wide(self._vectors, rows)
        self._vectors, self._others = self._others, self._vectors
        values, turn = linalg.eigh((projected + projected.T) / 2)
        self._rotate((np.zeros(n), turn[:, ::-1]))
        return values[::-1]

    def _orthonormal(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return what to take off the vectors, and what then to multiply them by."""
        n = PANEL * len(self._vectors)
        gram, sums, total = np.zeros((n, n)), np.zeros(n), 0.0
        for rows in self._chunks():
            weights = self._degrees[rows].astype(np.float64)
            wide = _wide(self._vectors, rows)
            weighted = wide * weights[:, None]
            gram += weighted.T @ wide
            sums += weighted.sum(axis=0)
            total += weights.sum()
        gram -= np.outer(sums, sums) / total
        squares = np.diag(gram)
        scale = np.where(squares > 0, np.sqrt(np.where(squares > 0, squares, 1)), np.inf)  # what is nothing stays so
        values, turn = linalg.eigh(gram / np.outer(scale, scale))
        values = np.maximum(values, 1e-10)
        return sums / total, (turn / np.sqrt(values)) / scale[:, None]

    def _rotate(self, how: tuple[NDArray[np.float64], NDArray[np.float64]]) -> None:
        mean, turn = how
        for rows in self._chunks():
            wide = (_wide(self._vectors, rows) - mean) @ turn
            for i, panel in enumerate(self._vectors):
                panel[rows] = wide[:, i * PANEL : (i + 1) * PANEL]


def _wide(panels: list[NDArray[np.float32]], rows: NDArray[np.int32]) -> NDArray[np.float64]:
    return np.concatenate([panel[rows] for panel in panels], axis=1).astype(np.float64)
