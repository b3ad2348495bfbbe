"""``adata.oom``: what is ours on a plain AnnData."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

import anndata
from anndata import AnnData  # at run time: anndata checks the annotation when the accessor is registered

from .card import Card, explained, matrix_card
from .interop.anndata import underlying
from .oommatrix import OOMMatrix

if TYPE_CHECKING:
    from collections.abc import Iterator
    from contextlib import AbstractContextManager

__all__ = ["OOMAccessor"]

_PLANNER = "scanpy_oom.dispatch.explain"
"""The planner of scanpy calls, which stands above: named, not imported."""

_FALLBACK = "scanpy_oom.dispatch.fallback"
"""Where matrices are brought into memory for other functions, likewise."""


@anndata.register_anndata_namespace("oom")
class OOMAccessor:
    """The matrices of an AnnData that stay on disk.

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
        """True if a matrix of this object stays on disk."""
        return next(self._matrices(), None) is not None

    def to_memory(self) -> AnnData:
        """Return a copy with every matrix in memory.

        Raises
        ------
        MemoryBudgetExceeded
            If one of them takes more than ``settings.memory_limit``.
        """
        return self._adata.to_memory()

    def in_memory(self, *names: str) -> AbstractContextManager[AnnData]:
        """Have matrices in memory for the time of a ``with`` block, as for a function of another package.

        At its end, those that were left as they are stay on disk, and those that were changed are kept as they are
        then. If the block fails, the AnnData is as it was before.

        Parameters
        ----------
        names
            ``"X"``, ``"layers/NAME"``, ``"raw/X"``; X if none is given.

        Returns
        -------
        What is to be used within the block: the AnnData itself, or for a view another of the same.

        Raises
        ------
        KeyError
            If there is no such matrix.
        MemoryBudgetExceeded
            If they take more than ``settings.memory_limit``.

        Examples
        --------
        >>> with adata.oom.in_memory() as a:  # doctest: +SKIP
        ...     other_package.impute(a)
        """
        return importlib.import_module(_FALLBACK).materialized(self._adata, names)

    def close(self) -> None:
        """Close the files. Matrices that read from them raise an error afterwards."""
        for _, matrix in self._matrices():
            matrix.source.close()

    def explain(self, function: str | None = None, /, *args: object, **arguments: object) -> Any:
        """Tell what is known of each matrix, or what a scanpy call would cost, before it runs.

        No values are read, and nothing is changed: at most the offsets of rows (or columns) are fetched, once.

        Parameters
        ----------
        function
            A scanpy function: `"pca"`, `"pp.pca"` or `"sc.pp.pca"`. None for the matrices.
        args, arguments
            Its further arguments, after the AnnData.

        Returns
        -------
        For the matrices, a text: the chain of each, its source, what is cached, which statistics are known. For a
        function, an :class:`~scanpy_oom.engine.explain.explanation.Explanation`, which shows the plan where it is
        printed.

        Raises
        ------
        ValueError
            If scanpy has no such function.
        TypeError
            If it does not take these arguments.
        """
        if function is not None:
            return importlib.import_module(_PLANNER).explain(self._adata, function, args, arguments)
        if args or arguments:
            msg = (
                f"Arguments {[*args, *arguments]} are given, but no function. "
                "Name the function first: `adata.oom.explain('pca', n_comps=30)`."
            )
            raise TypeError(msg)
        return self._text([explained(matrix, slot) for slot, matrix in self._matrices()])

    def _cards(self) -> list[Card]:
        return [matrix_card(matrix, slot) for slot, matrix in self._matrices()]

    def __repr__(self) -> str:
        return self._text(self._cards())

    def _text(self, cards: list[Card]) -> str:
        n_obs, n_vars = self._adata.shape
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
