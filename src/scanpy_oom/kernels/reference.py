"""The kernels in plain NumPy and SciPy: what each must equal, written to be read."""

from __future__ import annotations

from fractions import Fraction
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
from scipy import sparse

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

__all__ = [
    "axis_statistics",
    "chebyshev_step",
    "column_steps",
    "connected_components",
    "degrees",
    "gram",
    "group_moments",
    "is_increasing",
    "is_symmetric",
    "keep_nearest",
    "look_up",
    "marked_among_nearest",
    "merge_clusters",
    "move_to_clusters",
    "move_vertices",
    "pearson_residuals",
    "rank_sums",
    "refine_clusters",
    "renumber_clusters",
    "select_columns",
    "sort_columns",
    "subtract_columns",
    "top_row_sums",
    "uses",
]


def select_columns(block: sparse.csr_matrix, columns: NDArray[np.intp]) -> sparse.csr_matrix:
    """Keep `columns` of a block, in that order."""
    return block[:, columns]


def sort_columns(block: sparse.csr_matrix) -> sparse.csr_matrix:
    """Put the columns of each row in ascending order, equal ones in the order in which they come."""
    order = np.lexsort(
        (np.arange(block.nnz), block.indices, np.repeat(np.arange(block.shape[0]), np.diff(block.indptr)))
    )
    return sparse.csr_matrix((block.data[order], block.indices[order], block.indptr), shape=block.shape)


def is_increasing(indptr: NDArray[np.integer], indices: NDArray[np.integer]) -> bool:
    """Return whether each column of a row is larger than the one before it."""
    return all((np.diff(indices[start:stop]) > 0).all() for start, stop in pairwise(indptr))


def column_steps(
    values: NDArray[np.float64],
    indices: NDArray[np.integer],
    steps: list[tuple[str, NDArray[np.float64], bool]],
) -> NDArray[np.float64]:
    """Ufuncs of values and an operand of their column, one after the other; each may round to single precision."""
    with np.errstate(all="ignore"):
        for ufunc, operand, single in steps:
            values = getattr(np, ufunc)(values, operand[indices])
            values = values.astype(np.float32).astype(np.float64) if single else values
    return values


def subtract_columns(
    values: NDArray[np.float64], indices: NDArray[np.integer], operand: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Values less a number of their column."""
    return values - operand[indices]


def look_up(values: NDArray[np.float64], rows: NDArray[np.intp], table: NDArray[np.float64]) -> NDArray[np.float64]:
    """Replace whole numbers below the table's width by its entries; `rows` are those of the values."""
    hit = (values >= 0) & (values < table.shape[1]) & (values % 1 == 0)
    out = values.copy()
    out[hit] = table[rows[hit] if table.shape[0] > 1 else 0, values[hit].astype(int)]
    return out


def axis_statistics(dense: NDArray[np.float64]) -> dict[str, NDArray[np.number]]:
    """Sums, counts of non-zeros and of positive entries by row and column of a dense block."""
    return {
        "row_sum": dense.sum(axis=1),
        "row_nnz": np.count_nonzero(dense, axis=1),
        "row_npos": np.count_nonzero(dense > 0, axis=1),
        "col_sum": dense.sum(axis=0),
        "col_sumsq": (dense**2).sum(axis=0),
        "col_nnz": np.count_nonzero(dense, axis=0),
        "col_npos": np.count_nonzero(dense > 0, axis=0),
    }


def group_moments(
    dense: NDArray[np.float64], codes: NDArray[np.integer], n_groups: int
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.int64], NDArray[np.int64]]:
    """Sums, sums of squares, non-zero and positive counts by group, each `(n_groups, n_columns)`."""
    groups = [dense[codes == g] for g in range(n_groups)]
    return (
        np.stack([x.sum(axis=0) for x in groups]),
        np.stack([(x**2).sum(axis=0) for x in groups]),
        np.stack([np.count_nonzero(x, axis=0) for x in groups]),
        np.stack([np.count_nonzero(x > 0, axis=0) for x in groups]),
    )


def top_row_sums(dense: NDArray[np.float64], ns: NDArray[np.integer]) -> NDArray[np.float64]:
    """Sum of the `n` largest values of each row, for each `n` of `ns`."""
    descending = -np.sort(-dense, axis=1)
    return np.stack([descending[:, :n].sum(axis=1) for n in ns], axis=1)


def gram(dense: NDArray[np.float64]) -> NDArray[np.float64]:
    """Gram matrix of the columns."""
    return dense.T @ dense


def encode_deltas(indptr: NDArray[np.integer], indices: NDArray[np.integer]) -> NDArray[np.int64]:
    """Columns that are skipped before each stored entry of a row."""
    rows = [indices[start:stop] for start, stop in pairwise(indptr)]
    return np.concatenate([np.diff(row, prepend=-1) - 1 for row in rows] or [np.empty(0, dtype=np.int64)])


def decode_deltas(lengths: NDArray[np.integer], deltas: NDArray[np.integer]) -> NDArray[np.int64]:
    """Columns, from how many are skipped before each."""
    rows = np.split(deltas.astype(np.int64), np.cumsum(lengths)[:-1]) if lengths.size else [deltas.astype(np.int64)]
    return np.concatenate([np.cumsum(row + 1) - 1 for row in rows])


def narrow_counts(values: NDArray[np.floating], dtype: np.dtype) -> NDArray[np.number] | None:
    """Values as unsigned integers; None where they are no such numbers."""
    fit = (values >= 0) & (values <= np.iinfo(dtype).max) & (values == np.floor(values)) & ~np.signbit(values)
    return values.astype(dtype) if fit.all() else None


def encode_counts(
    indptr: NDArray[np.integer], indices: NDArray[np.integer], data: NDArray[np.floating], gap_bits: int
) -> bytes | None:
    """Skipped columns and counts, less one, in a byte each, then those that it does not hold; None for other values."""
    most_skipped, most = 2**gap_bits - 1, 2 ** (8 - gap_bits) - 1
    skipped, less_one = encode_deltas(indptr, indices), data.astype(np.float64) - 1
    if not ((less_one >= 0) & (less_one < 2**16) & (less_one == np.floor(less_one)) & (skipped < 2**16)).all():
        return None
    counts = less_one.astype(np.int64)
    code = np.minimum(skipped, most_skipped) << (8 - gap_bits) | np.minimum(counts, most)
    aside, far, large = counts[counts >= most], skipped[skipped >= most_skipped], counts[counts >= 255]
    parts = code, np.minimum(aside, 255), far & 255, far >> 8, np.stack([large & 255, large >> 8], axis=1).ravel(), [0]
    return np.concatenate(parts).astype(np.uint8).tobytes()


def count_before(rows: NDArray[np.integer], n_rows: int) -> NDArray[np.int32]:
    """Entries that precede each row, where some rows have one each."""
    return np.searchsorted(rows, np.arange(n_rows + 1)).astype(np.int32)


def rank_sums(
    values: NDArray[np.number], codes: NDArray[np.integer], n_groups: int
) -> tuple[NDArray[np.float64], float]:
    """Sums of the mean ranks of `values` by group, and the sum of `t**3 - t` over runs of `t` equal ones."""
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    ranks = (np.cumsum(counts) - counts + (counts + 1) / 2)[inverse]
    sums = np.bincount(codes, ranks, n_groups).astype(np.float64)
    return sums, float((counts.astype(float) ** 3 - counts).sum())


def group_clipped_sums(
    dense: NDArray[np.float64], codes: NDArray[np.integer], highest: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Sums and sums of squares by group of values cut at a bound, `(n_groups, n_columns, 2)`; zeros are not cut."""
    groups = [dense[codes == g] for g in range(highest.shape[0])]
    cut = [np.where(x == 0, 0, np.minimum(x, high)) for x, high in zip(groups, highest, strict=True)]
    return np.stack([np.stack([x.sum(axis=0), (x**2).sum(axis=0)], axis=1) for x in cut])


def low_rank(rows: NDArray[np.float64], columns: NDArray[np.float64]) -> NDArray[np.float64]:
    """Product of two factors."""
    return rows @ columns


def pearson_residuals(
    dense: NDArray[np.float64],
    cell_totals: NDArray[np.float64],
    gene_sums: NDArray[np.float64],
    grand_total: float,
    theta: float,
    dtype: np.typing.DTypeLike,
) -> NDArray[np.floating]:
    """Residuals of all values, computed in `dtype`."""
    cells, genes, values = (array.astype(dtype) for array in (cell_totals, gene_sums, dense))
    mu = np.outer(cells, genes) / np.asarray(grand_total, dtype=dtype)
    with np.errstate(invalid="ignore", divide="ignore"):
        return (values - mu) / np.sqrt(mu + mu**2 / np.asarray(theta, dtype=dtype))


def keep_nearest(candidates: NDArray[np.floating], k: int) -> NDArray[np.floating]:
    """The `k` smallest distances of each row, in order."""
    return np.sort(candidates, axis=1)[:, :k]


def marked_among_nearest(
    candidates: NDArray[np.floating], marked: NDArray[np.bool_], k: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Of each row's `k` nearest, how many are marked at least, and at most: they differ if some are equally far."""
    fewest, most = (np.lexsort((np.broadcast_to(last, candidates.shape), candidates)) for last in (marked, ~marked))
    return marked[fewest[:, :k]].sum(axis=1), marked[most[:, :k]].sum(axis=1)


def connected_components(adjacency: sparse.coo_matrix, least: float) -> tuple[int, NDArray[np.int32]]:
    """Number of components, and that of each vertex; an edge of little weight is none, others lead both ways."""
    counts = adjacency.data >= least
    entries = adjacency.data[counts], (adjacency.row[counts], adjacency.col[counts])
    return sparse.csgraph.connected_components(sparse.csr_matrix(entries, shape=adjacency.shape), directed=False)


def is_symmetric(stored: NDArray[np.bool_], weights: NDArray[np.floating], tolerance: float) -> bool:
    """Whether the same entries are stored of the transposed matrix, each nearly of the weight above the diagonal."""
    pairs = np.triu(stored, 1)
    alike = abs(weights.T - weights) <= tolerance * abs(weights)
    return np.array_equal(stored, stored.T) and bool(alike[pairs].all())


def degrees(weights: NDArray[np.floating], least: float) -> NDArray[np.float64]:
    """Sums of weights by row, without those below `least`."""
    return np.where(weights >= least, weights, 0).sum(axis=1, dtype=np.float64)


def chebyshev_step(
    weights: NDArray[np.floating],
    least: float,
    vectors: NDArray[np.float64],
    before: NDArray[np.float64],
    coefficients: tuple[float, float, float],
) -> NDArray[np.float64]:
    """Return p * P @ vectors + q * vectors + r * before, where P are weights divided by the sum of their row."""
    p, q, r = coefficients
    sums = degrees(weights, least)[:, None]
    products = np.where(weights >= least, weights, 0) @ vectors
    return p * np.divide(products, sums, out=np.zeros_like(products), where=sums > 0) + q * vectors + r * before


def move_vertices(
    adjacency: sparse.csr_matrix,
    positions: NDArray[np.floating],
    vertices: NDArray[np.integer],
    epoch: int,
    seed: int,
    rates: tuple[float, float],
    forces: tuple[Callable[[float], float], Callable[[float], float]],
) -> NDArray[np.float64]:
    """Where `vertices` are after a step: edges that are due as umap-learn says, draws from SplitMix64 by a counter."""
    alpha, rate = rates
    out = []
    for i in vertices.tolist():
        here = positions[i].astype(np.float64)
        state = _scrambled(_scrambled(seed + epoch) + i)
        due = {}
        for j, weight in zip(adjacency[i].indices, adjacency[i].data, strict=True):
            n_draws = uses(Fraction(float(weight / adjacency.data.max())), epoch, rate).get(epoch)
            if n_draws is not None:
                due[j] = n_draws
        for j, n_draws in due.items():
            away = here - positions[j]
            here = here + alpha * np.clip(forces[0](away @ away) * away, -4, 4)
            driven = np.zeros_like(here)
            for _ in range(n_draws):
                state += 0x9E3779B97F4A7C15
                away = here - positions[((_scrambled(state) >> 32) * positions.shape[0]) >> 32]
                driven += np.clip(forces[1](away @ away) * away, -4, 4)
            here = here + alpha * driven
        for j in due:
            away = here - positions[j]
            here = here + alpha * np.clip(forces[0](away @ away) * away, -4, 4)
        out.append(here)
    return np.array(out)


def uses(share: float | Fraction, until: int, rate: float) -> dict[int, int]:
    """How many draws an edge makes in each epoch in which it is used: the loop of umap-learn, for one edge."""
    found: dict[int, int] = {}
    between, drawn_between = 1 / share, 1 / share / type(share)(rate)
    due, draws_due = between, drawn_between
    for epoch in range(until + 1):
        if due <= epoch:
            found[epoch] = int((epoch - draws_due) / drawn_between)
            due += between
            draws_due += found[epoch] * drawn_between
    return found


def _scrambled(x: int) -> int:
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
        x &= 2**64 - 1
        x = ((x ^ (x >> shift)) * factor) & (2**64 - 1)
    return x ^ (x >> 31)


def renumber_clusters(labels: NDArray[np.int32]) -> NDArray[np.int32]:
    """Number clusters in the order of their first vertices."""
    first, numbers = np.unique(labels, return_index=True)[1], np.zeros(labels.max() + 1, np.int32)
    numbers[labels[np.sort(first)]] = np.arange(len(first))
    return numbers[labels]


def move_to_clusters(
    weights: NDArray[np.float64],
    sizes: NDArray[np.float64],
    resolution: float,
    labels: NDArray[np.int32],
    order: NDArray[np.int32],
) -> int:
    """Move vertices of a graph, whose weights are a dense matrix, to the clusters where they gain most."""
    queue, n_moved = [int(v) for v in order], 0
    while queue:
        v = queue.pop(0)
        others = np.arange(len(sizes)) != v

        def gain(c: int, v: int = v, others: NDArray[np.bool_] = others) -> float:
            members = others & (labels == c)
            return float(weights[v, members].sum() - resolution * sizes[v] * sizes[members].sum())

        near = np.flatnonzero((weights[v] > 0) & others)
        best = max([int(labels[v]), *labels[near].tolist()], key=gain)
        if gain(best) < 0:
            best = next(c for c in range(len(sizes)) if c not in labels)
        if best != labels[v]:
            labels[v] = best
            n_moved += 1
            queue += [int(u) for u in near if labels[u] != best and u not in queue]
    return n_moved


def refine_clusters(
    weights: NDArray[np.float64],
    sizes: NDArray[np.float64],
    resolution: float,
    labels: NDArray[np.int32],
    order: NDArray[np.int32],
    draw: Callable[[list[float]], int],
) -> NDArray[np.int32]:
    """Part clusters; `draw` returns which of some gains is taken, the first being that of staying alone."""
    parts = np.arange(len(sizes), dtype=np.int32)
    for c in range(labels.max() + 1):
        cluster = labels == c

        def is_connected(members: NDArray[np.bool_], cluster: NDArray[np.bool_] = cluster) -> bool:
            outward = weights[members][:, cluster & ~members].sum()
            return bool(outward >= resolution * sizes[members].sum() * sizes[cluster & ~members].sum())

        for v in order[cluster[order]]:
            if np.sum(parts == parts[v]) > 1 or not is_connected(parts == parts[v]):
                continue
            near = [u for u in np.flatnonzero(cluster & (weights[v] > 0)) if u != v]
            good, gains = [], [0.0]
            for part in dict.fromkeys(parts[near]):
                members = parts == part
                gain = weights[v, members].sum() - resolution * sizes[v] * sizes[members].sum()
                if gain >= 0 and is_connected(members):
                    good.append(part)
                    gains.append(gain)
            if good:
                parts[v] = [parts[v], *good][draw(gains)]
    return parts


def merge_clusters(
    weights: NDArray[np.float64], sizes: NDArray[np.float64], labels: NDArray[np.int32]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the weights of a graph whose vertices are clusters, and the sizes of these."""
    is_in = labels[:, None] == np.arange(labels.max() + 1)
    return is_in.T @ weights @ is_in, is_in.T @ sizes
