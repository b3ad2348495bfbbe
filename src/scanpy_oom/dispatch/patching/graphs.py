"""Graphs of cells for igraph, built without one Python tuple an edge.

scanpy hands igraph a list of tuples of NumPy's numbers, some 150 bytes an edge, and gives each edge its weight as an
object. igraph takes an iterator as well: pairs are made as they are read, and no more than a block of them is alive.

A graph is built here only if a small one, built by both, is the same as scanpy's.
"""

from __future__ import annotations

from functools import cache
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

import igraph
import numpy as np
from scipy import sparse

from ...memory.ledger import ACCOUNTANT
from ...memory.malloc_trim import return_freed_memory
from ...messages import warn_user

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray

__all__ = ["BYTES_OF_AN_EDGE", "LeanGraph", "graph_from_adjacency"]

BYTES_OF_AN_EDGE = 80
"""Bytes for each stored value that a graph and igraph's Leiden take at most, as measured on 200,000 cells."""

_BLOCK = 1 << 16
"""Edges that are Python objects at one time."""

_CLUSTERING = ("scanpy.tools._leiden", "scanpy.tools._louvain")
"""Modules of scanpy that ask a graph for a partition, and then forget it."""

_LEAN = frozenset(
    {"_give_weights", "_weights", "_with_array", "add_edges", "add_vertices", "community_leiden"}
    | {"community_multilevel", "ecount", "es", "is_directed", "modularity", "vcount"}
)
"""Names that can be asked of a lean graph without giving it the attribute."""


def graph_from_adjacency(function: Callable[..., Any], caller: str, adjacency: Any, *, directed: bool) -> Any:
    """Build the graph that scanpy would build of a matrix.

    Parameters
    ----------
    function
        scanpy's own.
    caller
        The module that asks for it.
    adjacency
        Weights of edges.
    directed
        Whether edges have a direction.
    """
    build = _builder(function, directed=directed) if _is_covered(adjacency) else None
    if build is None:
        return function(adjacency, directed=directed)
    kind = LeanGraph if caller in _CLUSTERING else igraph.Graph
    nbytes = BYTES_OF_AN_EDGE * adjacency.nnz
    with ACCOUNTANT.reserve(workspace=nbytes):
        graph = build(kind, adjacency, directed=directed)
    return_freed_memory()
    if kind is LeanGraph:  # it lives as long as scanpy looks for clusters
        ACCOUNTANT.hold(graph, "workspace", nbytes)
    return graph


def _is_covered(adjacency: Any) -> bool:
    """Return whether stored values are edges, one by one, in the order in which scanpy would list them."""
    return (
        isinstance(adjacency, sparse.csr_matrix | sparse.csr_array)
        and adjacency.shape[0] == adjacency.shape[1]
        and adjacency.dtype.kind in "fiu"
        and adjacency.dtype.itemsize <= 8
        and bool(adjacency.data.any())  # what scanpy makes of no edges is left to it
        and bool(adjacency.has_canonical_format)
    )


class LeanGraph(igraph.Graph):
    """A graph with the weights of its edges in one array.

    It answers what scanpy's clustering asks for. Whatever else is asked of it finds a plain graph, whose edges have
    the attribute `"weight"`.
    """

    _weights: NDArray[Any] | None = None

    def __getattribute__(self, name: str) -> Any:
        if name not in _LEAN and not name.startswith("__"):
            self._give_weights()
        return super().__getattribute__(name)

    def _give_weights(self) -> None:
        weights, self._weights = self._weights, None
        if weights is not None:
            igraph.EdgeSeq(self)["weight"] = weights

    def _with_array(self, args: tuple[object, ...], kwargs: dict[str, Any]) -> dict[str, Any]:
        """Return arguments with the array in the place of its name."""
        if args:
            self._give_weights()
        by_name = isinstance(kwargs.get("weights"), str) and kwargs["weights"] == "weight"
        if self._weights is None or not by_name:
            return kwargs
        return {**kwargs, "weights": self._weights}

    @property
    def es(self) -> Any:
        """Edges, whose weights are listed when they are asked for."""
        return igraph.EdgeSeq(self) if self._weights is None else _Edges(self)

    def community_leiden(self, *args: object, **kwargs: object) -> Any:
        """Find clusters as :meth:`igraph.Graph.community_leiden` does."""
        return super().community_leiden(*args, **self._with_array(args, kwargs))

    def modularity(self, *args: object, **kwargs: object) -> Any:
        """Compute what :meth:`igraph.Graph.modularity` does."""
        return super().modularity(*args, **self._with_array(args[1:], kwargs))  # the first are clusters


class _Edges(igraph.EdgeSeq):
    """Edges of a lean graph."""

    def __getattribute__(self, name: str) -> Any:
        if name != "graph" and not name.startswith("__"):
            self.graph._give_weights()
        return super().__getattribute__(name)

    def __getitem__(self, key: object) -> Any:
        weights = self.graph._weights
        if weights is not None and isinstance(key, str) and key == "weight":
            return list(weights)
        self.graph._give_weights()
        return super().__getitem__(key)

    def __setitem__(self, key: object, value: object) -> None:
        self.graph._give_weights()
        super().__setitem__(key, value)

    def __iter__(self) -> Any:
        self.graph._give_weights()
        return iter(igraph.EdgeSeq(self.graph))


def _add_edges(graph: igraph.Graph, pairs: Iterator[tuple[int, int]]) -> None:
    """Add edges as they are made, and raise what ends their making."""
    try:
        graph.add_edges(pairs)
    except SystemError as error:  # igraph takes an iterator that raises for one that has ended
        if error.__cause__ is None:
            raise
        raise error.__cause__ from None


def _as_stored(kind: type, adjacency: Any, *, directed: bool) -> Any:
    """Build a graph with an edge for each value other than zero, as scanpy does by default."""
    graph = kind(directed=directed)
    graph.add_vertices(adjacency.shape[0])
    _add_edges(graph, _pairs(adjacency))
    kept = adjacency.data != 0
    return _weighted(graph, adjacency.data if kept.all() else adjacency.data[kept])


def _pairs(adjacency: Any) -> Iterator[tuple[int, int]]:
    """Yield rows and columns of values other than zero; some rows at a time are turned into objects."""
    indptr, n_rows = adjacency.indptr, adjacency.shape[0]
    start = 0
    while start < n_rows:
        stop = max(int(np.searchsorted(indptr, indptr[start] + _BLOCK, side="right")) - 1, start + 1)
        part = slice(indptr[start], indptr[stop])
        rows = np.repeat(np.arange(start, stop), np.diff(indptr[start : stop + 1]))
        kept = adjacency.data[part] != 0
        yield from zip(rows[kept].tolist(), adjacency.indices[part][kept].tolist(), strict=True)
        start = stop


def _as_weighted_adjacency(kind: type, adjacency: Any, *, directed: bool) -> Any:
    """Build a graph as :meth:`igraph.Graph.Weighted_Adjacency` does, and scanpy with its second preset.

    Stored zeros are edges. Without directions, a pair has one edge, of the larger weight, where it is met first.
    """
    n = adjacency.shape[0]
    rows = np.repeat(np.arange(n), np.diff(adjacency.indptr))
    columns, weights = adjacency.indices, adjacency.data
    if not directed:
        keys = np.minimum(rows, columns) * n + np.maximum(rows, columns)
        order = np.argsort(keys, kind="stable")
        starts = np.flatnonzero(np.diff(keys[order], prepend=-1))
        first = order[starts]
        by_place = np.argsort(first)
        weights = np.maximum(np.maximum.reduceat(weights[order], starts), 0)[by_place]
        rows, columns = np.divmod(keys[first[by_place]], n)
    graph = kind(directed=directed)
    graph.add_vertices(n)
    blocks = range(0, len(rows), _BLOCK)
    pairs = (
        pair
        for at in blocks
        for pair in zip(rows[at : at + _BLOCK].tolist(), columns[at : at + _BLOCK].tolist(), strict=True)
    )
    _add_edges(graph, pairs)
    return _weighted(graph, weights)


def _weighted(graph: Any, weights: NDArray[Any]) -> Any:
    if isinstance(graph, LeanGraph):
        graph._weights = weights
    else:
        graph.es["weight"] = weights
    return graph


def _builder(function: Callable[..., Any], *, directed: bool) -> Callable[..., Any] | None:
    """Return what builds the graphs that scanpy builds, by its settings of the moment; `None` if there is nothing."""
    sample = _sample()
    wanted = _contents(function(sample, directed=directed))
    for build in (_as_stored, _as_weighted_adjacency):
        if _contents(build(igraph.Graph, sample, directed=directed)) == wanted:
            return build
    _warn_of_other_graphs()
    return None


def _sample() -> Any:
    """Return a small matrix with a loop, a stored zero, a negative value, and pairs with one weight or two."""
    values = np.array([0.5, 2.0, 3.0, 1.0, 4.0, 0.0, 3.5, -1.0])
    columns = np.array([0, 1, 3, 0, 2, 3, 0, 2])
    return sparse.csr_matrix((values, columns, np.array([0, 3, 5, 6, 8])), shape=(4, 4))


def _contents(graph: Any) -> tuple[object, ...]:
    return graph.vcount(), graph.is_directed(), graph.get_edgelist(), list(map(float, graph.es["weight"]))


@cache
def _warn_of_other_graphs() -> None:
    warn_user(
        f"scanpy {version('scanpy')} builds other graphs in `scanpy._utils.get_igraph_from_adjacency` than scanpy-oom "
        "knows: `sc.tl.leiden` and `sc.tl.louvain` run as they are, and take as much memory as without scanpy-oom."
    )
