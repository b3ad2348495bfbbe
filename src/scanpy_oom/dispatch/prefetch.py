"""Genes that scanpy's plots ask for one after the other are read together, before the plot runs.

A rule takes the arguments of a call by name, defaults filled in, and yields triples of an AnnData, the name of one of
its matrices (as in :mod:`scanpy_oom.dispatch.uses`) and the names of genes. What is no gene is passed over: scanpy
says so.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING

from .uses import Arguments

if TYPE_CHECKING:
    from anndata import AnnData

__all__ = ["PREFETCHED", "Genes", "Rule", "prefetch"]

Genes = tuple[object, str, list[str]]

Rule = Callable[[Arguments], Iterator[Genes]]


def _listed(names: object) -> list[str]:
    """Return the texts among one or several values; those of several lists in one."""
    if isinstance(names, str):
        return [names]
    if not isinstance(names, Iterable) or isinstance(names, Mapping):
        return []
    return [text for name in names for text in ([name] if isinstance(name, str) else _listed(name))]


def _slot(adata: AnnData, *, use_raw: bool | None, layer: str | None = None) -> str:
    if use_raw is None:
        use_raw = layer is None and adata.raw is not None
    if use_raw and adata.raw is not None:
        return "raw/X"
    return "X" if layer in {None, "X"} else f"layers/{layer}"


def _by_symbol(adata: AnnData, names: list[str], column: str | None) -> list[str]:
    """Replace what is a gene's symbol by the name of the first such gene."""
    if column is None or column not in adata.var:
        return names
    symbols = adata.var[column]
    found = {symbol: name for name, symbol in zip(symbols.index[::-1], symbols.iloc[::-1], strict=True)}
    return [name if name in adata.var_names else found.get(name, name) for name in names]


def _embedding(arguments: Arguments) -> Iterator[Genes]:
    adata, layer = arguments["adata"], arguments["layer"]
    names = [name for name in _listed(arguments["color"]) if name not in adata.obs]
    yield (
        adata,
        _slot(adata, use_raw=arguments["use_raw"], layer=layer),
        _by_symbol(adata, names, arguments["gene_symbols"]),
    )


def _scatter(arguments: Arguments) -> Iterator[Genes]:
    adata, layers = arguments["adata"], arguments["layers"]
    of_axis = (layers,) * 3 if layers is None or isinstance(layers, str) else tuple(layers)
    wanted: dict[str, list[str]] = {}
    for axis, layer in zip(("x", "y", "color"), of_axis, strict=False):
        slot = _slot(adata, use_raw=arguments["use_raw"], layer=layer)
        wanted.setdefault(slot, []).extend(name for name in _listed(arguments[axis]) if name not in adata.obs)
    yield from ((adata, slot, names) for slot, names in wanted.items())


def _paga(arguments: Arguments) -> Iterator[Genes]:
    adata, colors = arguments["adata"], arguments["colors"]
    names = _listed(arguments["color"] if colors is None else colors)
    yield adata, _slot(adata, use_raw=bool(arguments["use_raw"])), names


def _paga_path(arguments: Arguments) -> Iterator[Genes]:
    adata = arguments["adata"]
    names = [name for name in _listed(arguments["keys"]) if name not in adata.obs]
    yield adata, _slot(adata, use_raw=bool(arguments["use_raw"])), names


def _ranked(arguments: Arguments) -> Iterator[Genes]:
    adata = arguments["adata"]
    ranking = adata.uns.get(arguments["key"] or "rank_genes_groups")
    if ranking is None:
        return
    use_raw = ranking["params"]["use_raw"] if arguments["use_raw"] is None else arguments["use_raw"]
    groups = ranking["names"].dtype.names if arguments["groups"] is None else _listed(arguments["groups"])
    names = _listed(arguments["gene_names"])
    if not names:
        known = [group for group in groups if group in ranking["names"].dtype.names]
        names = [name for group in known for name in ranking["names"][group][: arguments["n_genes"]]]
    yield adata, _slot(adata, use_raw=bool(use_raw)), _by_symbol(adata, names, arguments["gene_symbols"])


PREFETCHED: dict[str, Rule] = {
    "pl.embedding": _embedding,  # which umap, tsne, pca and the like call
    "pl.paga": _paga,
    "pl.paga_path": _paga_path,
    "pl.rank_genes_groups_violin": _ranked,
    "pl.scatter": _scatter,
}
"""Functions by their names below ``scanpy``. Other plots ask for all of their genes at once."""


def prefetch(wanted: Iterable[Genes]) -> None:
    """Have columns at hand that will be asked for, so that they are read in one pass.

    Of a view they are read for all cells of what is viewed, from where whatever else shows these cells finds them;
    unless that is more than reading the cells of the view for one gene after the other.
    """
    import numpy as np  # with all that follows, which wrapping scanpy does without
    from anndata import AnnData

    from ..matrix import OOMMatrix, root_of, underlying
    from ..queries.answers import ENGINE
    from . import slots

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
