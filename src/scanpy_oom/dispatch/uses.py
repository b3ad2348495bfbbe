"""Matrices that a call of a scanpy function would use, by its arguments.

A rule takes the arguments by name, defaults filled in, and yields pairs of an AnnData and the name of one of its
matrices: ``"X"``, ``"layers/NAME"``, ``"raw/X"``. Where the function was given a bare matrix, the pair is that matrix
and an empty name. A matrix in `obsm` or `varm` is in memory and so none of these.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from .. import _scanpy

if TYPE_CHECKING:
    from anndata import AnnData

__all__ = [
    "Arguments",
    "Rule",
    "Use",
    "aggregated",
    "chosen",
    "dendrogram",
    "every_layer",
    "filtered_genes",
    "neighbors_representation",
    "nothing",
    "raw_if_present",
    "representation",
    "values",
    "x",
    "x_of_all",
]

Use = tuple[object, str]
"""An AnnData and the name of one of its matrices, or a matrix and an empty name."""

Arguments = Mapping[str, Any]
"""Arguments of a call of scanpy, by name."""

Rule = Callable[[Arguments], Iterator[Use]]


def _data(arguments: Arguments) -> AnnData:
    """Return what the function works on: its first argument, whatever it is called."""
    return next(iter(arguments.values()))


def _is_annotated(data: object) -> bool:
    return hasattr(data, "layers")


def nothing(arguments: Arguments) -> Iterator[Use]:
    """Nothing: it works on the graph."""
    yield from ()


def x(arguments: Arguments) -> Iterator[Use]:
    """X, or the matrix that was given instead of an AnnData."""
    data = _data(arguments)
    yield data, ("X" if _is_annotated(data) else "")


def x_of_all(arguments: Arguments) -> Iterator[Use]:
    """X of every AnnData among the arguments."""
    for value in arguments.values():
        for one in value if isinstance(value, tuple) else (value,):  # those given as `*args`
            if _is_annotated(one):
                yield one, "X"


def chosen(arguments: Arguments) -> Iterator[Use]:
    """X, unless `layer`, `use_raw` or another argument says otherwise."""
    data = _data(arguments)
    elsewhere = any(arguments.get(name) is not None for name in ("obsm", "obsp", "varm", "varp"))
    if not _is_annotated(data):
        yield data, ""
    elif arguments.get("layer") is not None:
        yield data, f"layers/{arguments['layer']}"
    elif arguments.get("use_raw"):
        yield data, "raw/X"
    elif not elsewhere:
        yield data, "X"


def aggregated(arguments: Arguments) -> Iterator[Use]:
    """As :func:`chosen`, where the function refuses what is no AnnData, or two places at once."""
    places = [name for name in ("layer", "obsm", "varm") if arguments.get(name) is not None]
    if not _is_annotated(_data(arguments)) or len(places) > 1:
        return
    if arguments.get("acc") is None:
        yield from chosen(arguments)
    elif not places:
        yield from _accessed(_data(arguments), arguments["acc"])


def _accessed(data: AnnData, accessor: object) -> Iterator[Use]:
    """What an accessor of anndata points to."""
    try:
        place = _scanpy.place_of(accessor)
    except (TypeError, ValueError):
        return  # scanpy says what is wrong with it
    if place:
        yield data, place


def raw_if_present(arguments: Arguments) -> Iterator[Use]:
    """As :func:`chosen`, where `use_raw=None` means raw if there is one and no layer is named."""
    data, use_raw = _data(arguments), arguments.get("use_raw")
    if use_raw is None and _is_annotated(data):
        use_raw = data.raw is not None
    return chosen({**arguments, "use_raw": use_raw})


def values(arguments: Arguments) -> Iterator[Use]:
    """As :func:`chosen`, unless the values were given as `vals`."""
    vals = arguments.get("vals")
    if vals is None:
        yield from chosen(arguments)
    else:
        yield vals, ""


def every_layer(arguments: Arguments) -> Iterator[Use]:
    """X, and the layers that `layers` names."""
    data, layers = _data(arguments), arguments["layers"]
    yield from x(arguments)
    if _is_annotated(data):
        names = data.layers if layers == "all" else layers
        yield from ((data, f"layers/{name}") for name in names if name is not None)


def representation(arguments: Arguments) -> Iterator[Use]:
    """X where scanpy would take it to represent the cells, by `use_rep` and `n_pcs`.

    With more genes than ``scanpy.settings.N_PCS`` scanpy takes principal components, computing them if need be.
    """
    data = _data(arguments)
    use_rep, n_pcs = arguments.get("use_rep"), arguments.get("n_pcs")
    if arguments.get("distances") is not None:
        return
    if use_rep is not None and (not isinstance(use_rep, str) or _scanpy.is_second_preset()):
        yield from _accessed(data, use_rep)
        return
    if use_rep is None:
        takes_x = n_pcs == 0 or data.n_vars <= sys.modules["scanpy"].settings.N_PCS
    else:
        takes_x = use_rep == "X" and "X" not in data.obsm
    if takes_x:
        yield data, "X"


def neighbors_representation(arguments: Arguments) -> Iterator[Use]:
    """X where the graph of neighbors was computed from it."""
    data = _data(arguments)
    neighbors = data.uns.get(arguments.get("neighbors_key") or "neighbors", {})
    params = neighbors.get("params", {})
    if isinstance(params.get("use_rep"), str):  # a name, whatever the preset is by now
        return iter([(data, "X")] if params["use_rep"] == "X" and "X" not in data.obsm else [])
    return representation({"data": data, "use_rep": params.get("use_rep"), "n_pcs": params.get("n_pcs")})


def dendrogram(arguments: Arguments) -> Iterator[Use]:
    """Expression values where genes are named, else the representation of the cells."""
    return representation(arguments) if arguments.get("var_names") is None else raw_if_present(arguments)


def filtered_genes(arguments: Arguments) -> Iterator[Use]:
    """X or raw, unless the ranking of genes holds all that their filter asks for."""
    data = _data(arguments)
    ranking = data.uns.get(arguments.get("key") or "rank_genes_groups", {})
    params = ranking.get("params", {})
    layer = arguments.get("layer")
    use_raw = False if layer is not None and arguments.get("use_raw") is None else arguments.get("use_raw")
    given = {"groupby": arguments.get("groupby"), "use_raw": use_raw}
    asked = {name: params.get(name) if value is None else value for name, value in given.items()}
    known = all(params.get(name) == value for name, value in {**asked, "reference": "rest"}.items())
    if not (known and "logfoldchanges" in ranking and "pts_rest" in ranking):
        yield data, (f"layers/{layer}" if layer is not None else "raw/X" if asked["use_raw"] else "X")
