"""Reads the genes of a plot together, where scanpy asks for one after the other."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from anndata import AnnData

from ..matrix import OOMMatrix, root_of, underlying
from ..passes import ENGINE
from . import slots

if TYPE_CHECKING:
    from collections.abc import Iterable

    from .genes import Genes

__all__ = ["gather"]


def gather(wanted: Iterable[Genes]) -> None:
    """Have columns at hand that will be asked for, so that they are read in one pass.

    Of a view they are read for all cells of what is viewed, from where whatever else shows these cells finds them;
    unless that is more than reading the cells of the view for one gene after the other.
    """
    for adata, slot, names in wanted:
        if not isinstance(adata, AnnData):
            continue
        root = root_of(adata)
        if not isinstance(dict(underlying(root)).get(slot), OOMMatrix):
            continue
        matrix: OOMMatrix = slots.get(root, slot)
        known = root.raw.var_names if slot == "raw/X" else root.var_names
        if not known.is_unique:
            continue  # scanpy says so
        found = known.get_indexer(names)
        columns = np.unique(found[found >= 0])
        if columns.size * adata.n_obs >= root.n_obs and columns.size:
            ENGINE.keep(matrix.select(None, columns))
