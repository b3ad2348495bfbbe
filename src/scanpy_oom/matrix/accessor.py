"""``adata.oom``: what is ours on a plain AnnData."""

from __future__ import annotations

from typing import TYPE_CHECKING

import anndata
from anndata import AnnData  # at run time: anndata checks the annotation when the accessor is registered

from .card import Card, matrix_card
from .oommatrix import OOMMatrix
from .registrations import underlying

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["OOMAccessor"]


@anndata.register_anndata_namespace("oom")
class OOMAccessor:
    """What stays on disk of an AnnData.

    Printed, it shows a card for each matrix: file, format, density, chain of transforms, bytes read so far.

    Parameters
    ----------
    adata
        The AnnData, in memory or out of memory.
    """

    def __init__(self, adata: AnnData) -> None:
        self._adata = adata

    def _matrices(self) -> Iterator[tuple[str, OOMMatrix]]:
        for slot, below in underlying(self._adata):
            if isinstance(below, OOMMatrix):
                yield slot, _seen(self._adata, slot)

    @property
    def isbacked(self) -> bool:
        """Whether a matrix of this object stays on disk."""
        return next(self._matrices(), None) is not None

    def to_memory(self) -> AnnData:
        """Return a copy with every matrix in memory.

        Raises
        ------
        MemoryBudgetExceeded
            If one of them takes more than ``settings.memory_limit``.
        """
        return self._adata.to_memory()

    def close(self) -> None:
        """Close the files. Matrices that read from them raise an error afterwards."""
        for _, matrix in self._matrices():
            matrix.source.close()

    def explain(self) -> str:
        """Return, as text, each matrix with its source, its chain, what is known of it and what a pass would read."""
        return str(self)

    def _cards(self) -> list[Card]:
        return [matrix_card(matrix, slot) for slot, matrix in self._matrices()]

    def __repr__(self) -> str:
        n_obs, n_vars = self._adata.shape
        cards = self._cards()
        head = f"AnnData of {n_obs:,} × {n_vars:,}, " + ("out of memory" if cards else "in memory")
        return "\n".join([head, *(str(card) for card in cards)])

    def _repr_html_(self) -> str:
        return "".join(card.html() for card in self._cards()) or f"<div>{self!r}</div>"


def _seen(adata: AnnData, slot: str) -> OOMMatrix:
    """Return the matrix of a slot as this object, perhaps a view, shows it."""
    if slot == "X":
        return adata.X
    if slot == "raw/X":
        return adata.raw.X
    return adata.layers[slot.removeprefix("layers/")]
