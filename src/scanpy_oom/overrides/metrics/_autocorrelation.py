"""Autocorrelation of genes over a graph of cells: :func:`scanpy.metrics.morans_i` and :func:`scanpy.metrics.gearys_c`.

Each gene is by itself, so that scanpy's own functions run on some genes after the other.
"""

from __future__ import annotations

import inspect
import warnings
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import scanpy as sc
from anndata import AnnData

from ... import _scanpy
from ...engine.explain import plan
from ...matrix import OOMMatrix
from ...memory.ledger import ACCOUNTANT
from ...messages import warn_user
from ...queries.answers import ENGINE
from ..pp._compat import get_obs_rep

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray

__all__ = ["gearys_c", "morans_i"]

_WIDENED = 16
"""How many times the bytes of some genes are taken while they are worked on: by row, in double precision, chosen."""


def morans_i(adata_or_graph: object, vals: object = None, **arguments: object) -> NDArray[np.float64]:
    """Calculate Moran's I of each gene, some genes after the other.

    See :func:`scanpy.metrics.morans_i`.
    """
    return _by_genes(sc.metrics.morans_i, adata_or_graph, vals, **arguments)


def gearys_c(adata_or_graph: object, vals: object = None, **arguments: object) -> NDArray[np.float64]:
    """Calculate Geary's C of each gene, some genes after the other.

    See :func:`scanpy.metrics.gearys_c`.
    """
    return _by_genes(sc.metrics.gearys_c, adata_or_graph, vals, **arguments)


def _parts(
    adata_or_graph: object, vals: Any, *, use_graph: str | None = None, neighbors_key: str | None = None, **choice: Any
) -> tuple[object, Iterator[tuple[OOMMatrix, bool]]]:
    """Return the graph, and parts of the matrix with whether cells are their rows."""
    graph = adata_or_graph
    if isinstance(adata_or_graph, AnnData):
        named = {"use_graph": use_graph, "neighbors_key": neighbors_key}
        known = inspect.signature(_scanpy.get_graph).parameters
        graph = _scanpy.get_graph(adata_or_graph, **{name: value for name, value in named.items() if name in known})
    if isinstance(vals, OOMMatrix):
        return graph, ((vals.select(genes), False) for genes in _genes(vals, vals.shape[0]))
    x: OOMMatrix = get_obs_rep(adata_or_graph, **choice)
    return graph, ((x.select(None, genes), True) for genes in _genes(x, x.shape[1]))


def _genes(x: OOMMatrix, n_genes: int) -> Iterator[NDArray[np.intp]]:
    """Yield as many genes at a time as there is memory for."""
    room = max(ACCOUNTANT.available_to_passes() // _WIDENED, 1)
    step = max(int(n_genes * room // max(x.nbytes_in_memory, 1)), 1)
    for start in range(0, max(n_genes, 1), step):  # of no genes scanpy has something to say, too
        yield np.arange(start, min(start + step, n_genes))


def _by_genes(
    function: Callable[..., NDArray[np.float64]], adata_or_graph: object, vals: object, **arguments: Any
) -> NDArray[np.float64]:
    plan.reason("each gene is by itself: some are read after the other")
    graph, parts = _parts(adata_or_graph, vals, **arguments)
    results = []

    def of_part(part: OOMMatrix, by_cells: bool) -> NDArray[np.float64]:  # noqa: FBT001
        values = ENGINE.collect(part, dense=part.is_dense, what=function.__name__)
        return function(graph, values.T if by_cells else values)

    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*variables were constant", UserWarning)
        for part, by_cells in parts:
            results.append(plan.or_assume(partial(of_part, part, by_cells), lambda: np.empty(0)))
    result = np.concatenate(results)
    n_constant = np.count_nonzero(np.isnan(result))
    if n_constant:
        msg = f"{n_constant} variables were constant, will return nan for these."
        warn_user(msg)
    return result
