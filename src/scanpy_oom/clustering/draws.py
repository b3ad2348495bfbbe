"""Random numbers for igraph, drawn as scanpy has them drawn."""

from __future__ import annotations

import random
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import igraph
import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["Draws", "drawing_from"]


class Draws:
    """What igraph asks of a module like :mod:`random`, by a generator of NumPy's.

    Parameters
    ----------
    source
        Where numbers come from.
    """

    def __init__(self, source: Any) -> None:
        self._source: Any = source
        is_old = isinstance(source, np.random.RandomState)
        self._bits = self._source.tomaxint if is_old else self._word
        self._integers = self._source.randint if is_old else self._source.integers

    def _word(self) -> int:
        return int(self._source.integers(0, np.iinfo(np.uint64).max, dtype=np.uint64, endpoint=True))

    def getrandbits(self, k: int) -> int:
        """Return an integer of `k` bits."""
        return int(self._bits()) & ((1 << k) - 1)

    def randint(self, a: int, b: int) -> int:
        """Return an integer from `a` to `b`, both among them."""
        return int(self._integers(a, b + 1))

    def random(self) -> float:
        """Return a number from 0 to 1."""
        return float(self._source.random())

    def gauss(self, mu: float, sigma: float) -> float:
        """Return a number of a normal distribution."""
        return float(self._source.normal(mu, sigma))


@contextmanager
def drawing_from(source: Any) -> Iterator[None]:
    """Have igraph draw from a generator for the time of the context, and from :mod:`random` afterwards."""
    try:
        igraph.set_random_number_generator(Draws(source))
        yield
    finally:
        igraph.set_random_number_generator(random)
