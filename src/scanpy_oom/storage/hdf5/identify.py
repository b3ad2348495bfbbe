"""Identify the stored matrix behind another reader's array."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy import sparse

from ...errors import NotAnH5adError
from ..sources.open import is_streamable
from ..sources.row_reader import row_steps
from .file import SourceFile
from .open import open_source

if TYPE_CHECKING:
    import os

    from ..sources.base import Source

__all__ = ["find_matrix", "matrices_of_shape"]

_N_SAMPLED = 8


def matrices_of_shape(path: str | os.PathLike[str], shape: tuple[int, int], stored_as: str) -> list[Source]:
    """Open X and the layers of a file that have this shape and are ``"csr"``, ``"csc"`` or ``"dense"``.

    None, if there is no such file.
    """
    try:
        file = SourceFile(path)
    except (FileNotFoundError, IsADirectoryError, NotAnH5adError):
        return []
    with file.library() as h5:
        names = ["/X", *(f"/layers/{name}" for name in h5.get("layers", ()))]
        names = [name for name in names if name in h5 and is_streamable(h5[name])]
    file.close()
    sources = [open_source(path, name, file.stamp) for name in names]
    fitting = [source for source in sources if source.shape == shape and source.format == stored_as]
    _close([source for source in sources if source not in fitting])
    return fitting


def find_matrix(path: str | os.PathLike[str], shown: Source) -> Source | None:
    """Find the matrix of a file that `shown`, which reads it by other means, shows: X or a layer.

    All but one of the matrices of its shape are ruled out by a row in which they differ from it. Those that do not
    differ from each other are as good as one.

    Returns
    -------
    Its source, or `None` if none of them holds the rows that are shown.
    """
    opened = matrices_of_shape(path, shown.shape, shown.format)
    rows = np.unique(np.linspace(0, max(shown.shape[0] - 1, 0), _N_SAMPLED).astype(np.int64))[: shown.shape[0]]
    left = [source for source in opened if all(_are_same(source, shown, row, row + 1) for row in rows)]
    while len(left) > 1:
        first, second, *others = left
        row = _first_difference(first, second)
        if row is None:
            left = [first, *others]
        else:
            left = [source for source in left if _are_same(source, shown, row, row + 1)]
    _close([source for source in opened if source not in left])
    return left[0] if left else None


def _close(sources: list[Source]) -> None:
    for source in sources:
        source.close()


def _first_difference(a: Source, b: Source) -> int | None:
    for start, stop in row_steps(a.shape):
        if not _are_same(a, b, start, stop):
            while stop - start > 1:
                middle = (start + stop) // 2
                start, stop = (middle, stop) if _are_same(a, b, start, middle) else (start, middle)  # noqa: PLW2901
            return start
    return None


def _are_same(a: Source, b: Source, start: int, stop: int) -> bool:
    if a.dtype != b.dtype:
        return False
    first, second = _canonical(a, start, stop), _canonical(b, start, stop)
    return (
        np.array_equal(first.indptr, second.indptr)
        and np.array_equal(first.indices, second.indices)
        and np.array_equal(first.data, second.data, equal_nan=True)
    )


def _canonical(source: Source, start: int, stop: int) -> sparse.csr_matrix:
    block = source.read_rows(slice(int(start), int(stop)))
    rows = sparse.csr_matrix((block.data, block.indices, block.indptr), shape=(int(stop - start), source.shape[1]))
    rows.sum_duplicates()
    rows.eliminate_zeros()
    return rows
