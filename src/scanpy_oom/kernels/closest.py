"""The closest of many points: single precision tells what need not be looked at, double precision decides."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numba as nb
import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["GROUP", "distances_to", "keep_closest", "largest_value", "nearby", "unit_rows"]

GROUP = 16
"""Candidates whose smallest bound is found first, which takes no branches."""

LANES = 4
"""Sums that a distance is added up in. Their number fixes the order of the additions, on any machine."""

NO_LENGTH = 1e-28
"""Part of the squared length of a row below which the length without the mean is that of rounding errors."""

TINY = np.float32(1e-30)
"""Part of the largest squared distance below which single precision tells nothing."""


@nb.njit(nogil=True, cache=True)
def largest_value(values: NDArray[np.floating]) -> float:
    """Return the largest magnitude in a table; infinity if one of its values is no finite number."""
    largest = 0.0
    for i in range(values.shape[0]):
        for j in range(values.shape[1]):
            value = abs(values[i, j])
            if not value <= 1.7976931348623157e308:
                return np.inf
            largest = max(largest, value)
    return largest


@nb.njit(nogil=True, cache=True, inline="always")
def _squared(x: NDArray[np.floating], y: NDArray[np.floating]) -> float:
    """Sum squared differences in an order that depends on the number of values alone."""
    a, b, c, d = 0.0, 0.0, 0.0, 0.0
    n = x.size
    whole = n - n % LANES
    for j in range(0, whole, LANES):
        e = np.float64(x[j]) - np.float64(y[j])
        f = np.float64(x[j + 1]) - np.float64(y[j + 1])
        g = np.float64(x[j + 2]) - np.float64(y[j + 2])
        h = np.float64(x[j + 3]) - np.float64(y[j + 3])
        a += e * e
        b += f * f
        c += g * g
        d += h * h
    for j in range(whole, n):
        e = np.float64(x[j]) - np.float64(y[j])
        a += e * e
    return (a + b) + (c + d)


@nb.njit(nogil=True, cache=True)
def distances_to(points: NDArray[np.floating], others: NDArray[np.floating], out: NDArray[np.float64]) -> None:
    """Write squared distances of each point from each other one."""
    for i in range(points.shape[0]):
        for j in range(others.shape[0]):
            out[i, j] = _squared(points[i], others[j])


@nb.njit(nogil=True, cache=True, fastmath={"contract", "nsz", "reassoc"})
def nearby(
    points: NDArray[np.floating],
    center: NDArray[np.floating],
    scale: float,
    slack: float,
    factor: float,
    out: NDArray[np.float32],
    lows: NDArray[np.float32],
) -> None:
    """Write points around a centre in single precision, with a little less than their squared lengths.

    How this is rounded changes nothing that is found.

    Parameters
    ----------
    points
        `(n, d)`.
    center
        `(d,)`.
    scale
        Number that all are multiplied by, so that no square leaves the range of single precision.
    slack
        Part of the squared length that is left out.
    factor
        Number that the result is multiplied by, its length not.
    out
        `(n, d)`.
    lows
        `(n,)`.
    """
    for i in range(points.shape[0]):
        total = 0.0
        for j in range(points.shape[1]):
            value = (np.float64(points[i, j]) - np.float64(center[j])) * scale
            total += value * value
            out[i, j] = value * factor
        lows[i] = total * (1.0 - slack)


@nb.njit(nogil=True, cache=True, fastmath={"nnan", "nsz", "reassoc"}, inline="always")
def _least(values: NDArray[np.float32], start: int) -> np.float32:
    least = values[start]
    for j in range(1, GROUP):
        least = min(least, values[start + j])
    return least


@nb.njit(nogil=True, cache=True, inline="always")
def _insert(distances: NDArray[np.float64], found: NDArray[np.int32], distance: float, name: int) -> None:
    """Put a candidate in its place among those of a row, by distance and then by number; the last one drops out."""
    place = distances.size - 1
    while place > 0 and (
        distances[place - 1] > distance or (distances[place - 1] == distance and found[place - 1] > name)
    ):
        distances[place] = distances[place - 1]
        found[place] = found[place - 1]
        place -= 1
    distances[place] = distance
    found[place] = name


@nb.njit(nogil=True, cache=True)
def keep_closest(  # noqa: PLR0913
    bounds: NDArray[np.float32],
    rows: NDArray[np.int64],
    lows: NDArray[np.float32],
    scale: float,
    points: NDArray[np.floating],
    own: NDArray[np.int32],
    candidates: NDArray[np.floating],
    names: NDArray[np.int32],
    distances: NDArray[np.float64],
    found: NDArray[np.int32],
) -> None:
    """Keep of each row's candidates those that are among its closest, in order; of equal ones that with a lower number.

    The result depends on the candidates alone, whatever the order they come in and however the bounds are rounded.

    Parameters
    ----------
    bounds
        `(n_rows, n)`: no candidate is nearer than this and the row's `lows` together, squared and scaled; `n` is a
        multiple of :data:`GROUP`, and what is beyond the last candidate is not looked at.
    rows
        `(n_rows,)`: which points these are.
    lows
        `(n_points,)`.
    scale
        Number that coordinates were multiplied by for the bounds.
    points
        `(n_points, d)`.
    own
        `(n_points,)`: candidate that is the point itself, the closest whatever else lies there; -1 for none.
    candidates
        `(n_candidates, d)`, and not more of them than `n`.
    names
        `(n_candidates,)` their numbers, increasing.
    distances, found
        `(n_points, k)` squared distances and numbers so far, infinite and -1 where there are none.
    """
    n, k = candidates.shape[0], distances.shape[1]
    square = scale * scale
    for at in range(rows.size):
        i = rows[at]
        last = distances[i, k - 1]
        threshold = np.float32(last * square - lows[i]) + TINY
        for start in range(0, n, GROUP):
            if _least(bounds[at], start) > threshold:
                continue
            for j in range(start, min(start + GROUP, n)):
                if bounds[at, j] > threshold:
                    continue
                name = names[j]
                distance = -1.0 if name == own[i] else _squared(points[i], candidates[j])
                if distance < last or (distance == last and name < found[i, k - 1]):
                    _insert(distances[i], found[i], distance, name)
                    last = distances[i, k - 1]
                    threshold = np.float32(last * square - lows[i]) + TINY


@nb.njit(nogil=True, cache=True)
def unit_rows(points: NDArray[np.floating], centered: bool, out: NDArray[np.floating]) -> None:  # noqa: FBT001
    """Write rows with their length taken away, their mean too if they are to be centred.

    Parameters
    ----------
    points
        `(n, d)`.
    centered
        Whether the mean of each row is taken off.
    out
        `(n, d + 1)`: the last column is one for rows without length, and zero for others.
    """
    n, d = points.shape
    for i in range(n):
        mean = 0.0
        if centered:
            for j in range(d):
                mean += points[i, j]
            mean /= d
        total, whole = 0.0, 0.0
        for j in range(d):
            value = points[i, j] - mean
            total += value * value
            whole += np.float64(points[i, j]) * points[i, j]
        # what is left of a constant row is rounding
        length = np.sqrt(total) if total > NO_LENGTH * whole else 0.0
        for j in range(d):
            out[i, j] = (points[i, j] - mean) / length if length > 0 else 0.0
        out[i, d] = 0.0 if length > 0 else 1.0
