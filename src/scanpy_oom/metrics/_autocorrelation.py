"""Autocorrelation of genes over a graph of cells: :func:`scanpy.metrics.morans_i` and :func:`scanpy.metrics.gearys_c`.

Each gene is by itself, so that scanpy's own functions run on some genes after the other.
"""

from __future__ import annotations

import inspect
import warnings
from typing import TYPE_CHECKING, Any

import numpy as np
import scanpy as sc
from anndata import AnnData
from scanpy.metrics._common import _get_graph

from ..matrix import OOMMatrix
from ..memory import ACCOUNTANT
from ..passes import ENGINE
from ..passes.outline import Outline, collection
from ..pp._compat import get_obs_rep

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray

__all__ = ["gearys_c", "morans_i", "plan_gearys_c", "plan_morans_i"]

_WIDENED = 16
"""How many times the bytes of some genes are taken while they are worked on: by row, in double precision, chosen."""


def morans_i(adata_or_graph: Any, vals: Any = None, **arguments: Any) -> NDArray[np.float64]:
    """Calculate Moran's I of each gene, some genes after the other.

    See :func:`scanpy.metrics.morans_i`.
    """
    return _by_genes(sc.metrics.morans_i, adata_or_graph, vals, **arguments)


def gearys_c(adata_or_graph: Any, vals: Any = None, **arguments: Any) -> NDArray[np.float64]:
    """Calculate Geary's C of each gene, some genes after the other.

    See :func:`scanpy.metrics.gearys_c`.
    """
    return _by_genes(sc.metrics.gearys_c, adata_or_graph, vals, **arguments)


def plan_morans_i(adata_or_graph: Any, vals: Any = None, **arguments: Any) -> Outline:
    """Plan :func:`morans_i`."""
    _, parts = _parts(adata_or_graph, vals, **arguments)
    steps = [collection(part, "morans_i") for part, _ in parts]
    return Outline(steps, "each gene is by itself: some are read after the other")


plan_gearys_c = plan_morans_i


def _parts(
    adata_or_graph: Any, vals: Any, *, use_graph: str | None = None, neighbors_key: str | None = None, **choice: Any
) -> tuple[Any, Iterator[tuple[OOMMatrix, bool]]]:
    """Return the graph, and parts of the matrix with whether cells are their rows."""
    graph = adata_or_graph
    if isinstance(adata_or_graph, AnnData):
        named = {"use_graph": use_graph, "neighbors_key": neighbors_key}
        known = inspect.signature(_get_graph).parameters
        graph = _get_graph(adata_or_graph, **{name: value for name, value in named.items() if name in known})
    if isinstance(vals, OOMMatrix):
        return graph, ((vals.select(genes), False) for genes in _genes(vals, vals.shape[0]))
    x: OOMMatrix = get_obs_rep(adata_or_graph, **choice)
    return graph, ((x.select(None, genes), True) for genes in _genes(x, x.shape[1]))


def _genes(x: OOMMatrix, n_genes: int) -> Iterator[NDArray[np.intp]]:
    """Yield as many genes at a time as there is memory for."""
    room = max(ACCOUNTANT.available_to_passes() // _WIDENED, 1)
    step = max(int(n_genes * room // max(x.nbytes_in_memory, 1)), 1)
    for start in range(0, n_genes, step):
        yield np.arange(start, min(start + step, n_genes))


def _by_genes(function: Callable[..., Any], adata_or_graph: Any, vals: Any, **arguments: Any) -> NDArray[np.float64]:
    graph, parts = _parts(adata_or_graph, vals, **arguments)
    results = []
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*variables were constant", UserWarning)
        for part, by_cells in parts:
            values = ENGINE.collect(part, dense=part.is_dense, what=function.__name__)
            results.append(function(graph, values.T if by_cells else values))
    result = np.concatenate(results)
    n_constant = np.count_nonzero(np.isnan(result))
    if n_constant:
        msg = f"{n_constant} variables were constant, will return nan for these."
        warnings.warn(msg, UserWarning, stacklevel=3)
    return result
