"""Copies of arguments with which a call is planned: what is done to them is not seen outside."""

from __future__ import annotations

from copy import deepcopy
from typing import TYPE_CHECKING, Any

import numpy as np
from anndata import AnnData
from sklearn.utils import check_random_state

from ..matrix import OOMMatrix
from ..matrix.known_statistics import Statistics

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["Apart"]

_GENERATORS = (np.random.RandomState, np.random.Generator)

_SEEDS = ("random_seed", "random_state")
"""Arguments of which some values stand for NumPy's global generator."""


def _is_global(seed: object) -> bool:
    return seed is None or seed is np.random


def _copied(generator: Any) -> object:
    """Copy a generator of random numbers."""
    if isinstance(getattr(generator, "state", None), np.random.RandomState):
        # scanpy 1.13's around a RandomState: it has no bit generator, by which NumPy copies one
        arg = generator.state if _is_global(generator.arg) else generator.arg
        return type(generator)(*deepcopy((arg, generator.state)))
    return deepcopy(generator)


class Apart:
    """Copies values, in few bytes: arrays that are not changed in place are shared."""

    def __init__(self) -> None:
        self._statistics: dict[int, Statistics] = {}
        self._anndata: dict[int, AnnData] = {}

    def named(self, name: str, value: object) -> object:
        """Return a copy of an argument of some name: for NumPy's global generator, which others use too, its own."""
        return self.of(check_random_state(value) if name in _SEEDS and _is_global(value) else value)

    def of(self, value: object) -> object:
        """Return a copy of an argument."""
        if isinstance(value, AnnData):
            if id(value) not in self._anndata:
                self._anndata[id(value)] = self._of_anndata(value)
            return self._anndata[id(value)]
        if isinstance(value, _GENERATORS):
            return _copied(value)
        return self._of_matrix(value) if isinstance(value, OOMMatrix) else value

    def _of_matrix(self, x: OOMMatrix) -> OOMMatrix:
        """Return another matrix of the same, of which statistics may become known by themselves."""
        of = x.statistics
        statistics = self._statistics.setdefault(id(of), Statistics(dict(of.known), of.remainder))
        transposed_of = None if x.transposed_of is None else self._of_matrix(x.transposed_of)
        return OOMMatrix(x.source, x.selection, x.chain, statistics, x.copies, transposed_of)

    def _of_anndata(self, adata: AnnData) -> AnnData:
        def values(found: object) -> object:
            return self._of_matrix(found) if isinstance(found, OOMMatrix) else found

        aligned = {name: dict(getattr(adata, name)) for name in ("obsm", "varm", "obsp", "varp")}
        layers = {name: values(layer) for name, layer in adata.layers.items() if name is not None}
        made = AnnData(
            values(adata.X),
            obs=adata.obs.copy(deep=False),
            var=adata.var.copy(deep=False),
            uns=_own(adata.uns),
            layers=layers,
            **aligned,
        )
        if adata.raw is not None:
            raw = AnnData(values(adata.raw.X), var=adata.raw.var, varm=dict(adata.raw.varm))
            raw.obs_names = made.obs_names
            made.raw = raw
        return made


def _own(found: Mapping[str, object]) -> dict[str, object]:
    """Return a dictionary of the same values, and so of those within it."""
    return {name: _own(value) if isinstance(value, dict) else value for name, value in found.items()}
