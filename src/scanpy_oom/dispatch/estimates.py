"""What scanpy's own functions of graphs take, before they run: memory and time by the size of the graph.

pynndescent and umap-learn are compiled in every process, hold what their threads work on, and lay out a graph on one
thread wherever there is a seed. The numbers are slopes of measurements at 10,000 to 300,000 cells; a test holds them
against scanpy.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from anndata import AnnData
from scipy import sparse

from .. import messages
from ..embedding.graph import default_epochs
from ..settings import format_bytes, settings

if TYPE_CHECKING:
    from collections.abc import Callable

    from .uses import Arguments

__all__ = ["Estimate", "advise", "estimate", "in_words"]

EXACT_BELOW = 8192
"""Cells below which scanpy compares all pairs by Euclidean distances."""

LONG = 120.0
"""Seconds from which on the time is told."""

_COMPILING = 25.0, 250_000_000
"""Seconds and bytes that pynndescent takes to be compiled, once a process."""

_NEIGHBOR = 2e-6, 125
"""Seconds and bytes for each neighbour of a cell that pynndescent looks for."""

_LAYOUT_COMPILING = 6.0
"""Seconds that umap-learn takes to be compiled, once a process."""

_LAYOUT_EDGE = 2.5e-7, 50
"""Seconds of an epoch, and bytes, for each stored connectivity."""

_CLUSTERING = {"igraph": (5e-7, 80), "leidenalg": (2e-6, 160)}
"""Seconds of an iteration, and bytes, for each stored connectivity, by flavor."""


class Estimate(NamedTuple):
    """What a call takes.

    Attributes
    ----------
    nbytes
        Bytes of memory at the peak, beside what is there before.
    seconds
        Seconds of one core.
    """

    nbytes: int
    seconds: float


def estimate(function: str, arguments: Arguments) -> Estimate | None:
    """Estimate what a call of scanpy's own function takes.

    Parameters
    ----------
    function
        Its name below ``scanpy``.
    arguments
        What it is called with, defaults filled in.

    Returns
    -------
    `None` if that is not known: of other functions, and of arguments that lead elsewhere.
    """
    adata = next(iter(arguments.values()), None)
    rule = _RULES.get(function)
    return rule(adata, arguments) if rule is not None and isinstance(adata, AnnData) else None


def in_words(function: str, arguments: Arguments) -> str:
    """Say, as a clause, that a call takes more memory than the limit, or minutes; empty if it does neither."""
    found = estimate(function, arguments)
    if found is None:
        return ""
    takes = []
    if found.nbytes > settings.memory_limit:
        limit = format_bytes(settings.memory_limit)
        takes.append(f"about {format_bytes(found.nbytes)} of memory (limit: {limit})")
    if found.seconds >= LONG:
        takes.append(f"about {found.seconds / 60:,.0f} minutes of one core")
    way = "with `settings.graph = 'fast'` it takes a fraction of that"
    return f"scanpy's own takes {' and '.join(takes)}; {way}" if takes else ""


def advise(function: str, arguments: Arguments) -> None:
    """Log that a call takes more memory than the limit, or minutes, and what takes less.

    Parameters
    ----------
    function, arguments
        As in :func:`estimate`.
    """
    said = in_words(function, arguments)
    if said:
        messages.info(f"sc.{function}: {said}.")


def _neighbors(adata: AnnData, arguments: Arguments) -> Estimate | None:
    others = ("transformer", "distances")
    if any(arguments.get(name) is not None for name in others) or not arguments.get("knn", True):
        return None
    n, k = adata.n_obs, arguments.get("n_neighbors", 15)
    if n < EXACT_BELOW or not isinstance(k, int):
        return None
    (seconds, nbytes), (each, wide) = _COMPILING, _NEIGHBOR
    return Estimate(nbytes + wide * n * k, seconds + each * n * k)


def _n_connectivities(adata: AnnData, arguments: Arguments) -> int | None:
    """Return how many values the graph has that a call works on."""
    key, obsp = arguments.get("neighbors_key"), arguments.get("obsp")
    if arguments.get("adjacency") is not None:
        graph = arguments["adjacency"]
    else:
        told = adata.uns.get("neighbors" if key is None else key, {})
        name = told.get("connectivities_key") if obsp is None else obsp
        graph = adata.obsp.get(name)
    return graph.nnz if sparse.issparse(graph) else None


def _umap(adata: AnnData, arguments: Arguments) -> Estimate | None:
    n_edges, epochs = _n_connectivities(adata, arguments), arguments.get("maxiter")
    if n_edges is None or arguments.get("method", "umap") != "umap":
        return None
    epochs = epochs if isinstance(epochs, int) else default_epochs(adata.n_obs)
    each, wide = _LAYOUT_EDGE
    return Estimate(wide * n_edges, _LAYOUT_COMPILING + each * n_edges * epochs)


def _leiden(adata: AnnData, arguments: Arguments) -> Estimate | None:
    n_edges, flavor = _n_connectivities(adata, arguments), arguments.get("flavor")
    if n_edges is None:
        return None
    each, wide = _CLUSTERING["igraph" if flavor == "igraph" else "leidenalg"]
    turns = arguments.get("n_iterations", -1)
    return Estimate(wide * n_edges, each * n_edges * (turns if isinstance(turns, int) and turns > 0 else 5))


_RULES: dict[str, Callable[[AnnData, Arguments], Estimate | None]] = {
    "pp.neighbors": _neighbors,
    "tl.leiden": _leiden,
    "tl.umap": _umap,
}
