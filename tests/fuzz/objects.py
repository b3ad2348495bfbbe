"""What scripts do with AnnData and their matrices themselves, between calls of scanpy."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from scipy import sparse

from .drawing import Draw, genes, layer, selection
from .operations import OUT, draw_neighbors, draw_statements
from .preprocessing import PREPROCESSING
from .terms import Infix, Name, Statement, Term, ad, adata, files, np_, sp
from .tools import TOOLS

__all__ = ["next_statements"]

X = adata.X
COUNTS = adata.layers["counts"]


def _do(term: Any, target: Term = OUT) -> list[Statement]:
    return [Statement(term, target)]


def _subset(draw: Draw) -> list[Statement]:
    rows, columns = selection(draw, 0), selection(draw, 1)
    key = draw.one(rows, (slice(None), columns), (rows, columns))
    return _do(draw.one(adata[key], adata[key].copy(), adata[key].copy()), adata)


def _subset_variable(draw: Draw) -> list[Statement]:
    """As after `highly_variable_genes`; of an AnnData without, both fail."""
    chosen = adata[:, adata.var["highly_variable"]]
    return _do(draw.one(chosen, chosen.copy()), adata)


def _concat(draw: Draw) -> list[Statement]:
    n, m = draw.adata.shape
    halves = [adata[: n // 2], adata[n // 2 :, : max(1, m // 2)]]
    parts = draw.one([adata, adata], [adata, adata[:, ::-1]], halves, {"k": adata, "l": adata})
    some = {
        "join": ("outer", "inner"),
        "label": ("lab",),
        "index_unique": ("-", None),
        "merge": ("same", "unique", "first"),
        "uns_merge": ("same",),
        "axis": (0, 1),
        "fill_value": (0, 7, float("nan")),
        "pairwise": (True,),
    }
    return _do(ad.concat(parts, **draw.some(some)), adata)


def _again(draw: Draw) -> list[Statement]:
    some = {
        "compression": ("gzip", "lzf"),
        "as_dense": (["X"], "X", ["layers/counts"], ["raw/X"]),
        "convert_strings_to_categoricals": (False,),
    }
    return _do(files.again(adata, **draw.some(some)), adata)


def _assign(draw: Draw) -> list[Statement]:
    """Matrices, and columns of tables, that are set anew."""
    own = [
        (X.copy(), COUNTS),
        (X.copy(), COUNTS),
        (adata, adata.raw),
        (None, adata.raw),
        (COUNTS, X),
        (COUNTS.copy(), X),
        (np_.log1p(X), X),
        (Infix(X, "*", 2), X),
        (Infix(X, ">", 0), adata.layers["l2"]),
        (X.astype("float64"), X),
        (np_.asarray(X.sum(axis=1)).ravel(), adata.obs["n"]),
        (X[:, :2].mean(axis=1), adata.obsm["two"]),
        (draw.rng.integers(0, 5, draw.adata.n_obs), adata.obs["q"]),
        (["h" + name for name in map(str, draw.adata.var_names)], adata.var_names),
    ]
    if sparse.issparse(draw.adata.X):
        own += [(X.toarray(), X), (sp.csr_matrix(X), X)]
    return _do(*draw.one(*own))


def _delete(draw: Draw) -> list[Statement]:
    return _do(None, COUNTS)


def _transform(draw: Draw) -> list[Statement]:
    """An AnnData made of the one before."""
    return _do(
        draw.one(
            adata.copy(),
            adata.copy(),
            adata.copy(),
            adata.T,
            adata.T.copy(),
            adata.raw.to_adata(),
            adata.to_memory(),
            Name("copy").deepcopy(adata),
        ),
        adata,
    )


def _reduce(draw: Draw) -> list[Statement]:
    name = draw.one("sum", "sum", "mean", "max", "min")
    method = getattr(draw.one(X, X, COUNTS, adata.raw.X), name)
    return _do(draw.one(method(axis=0), method(axis=1), method()))


def _arithmetic(draw: Draw) -> list[Statement]:
    by = [("*", 2), ("/", 3), ("@", np_.ones(adata.n_vars)), ("!=", 0), (">", 0), (">", 1), ("**", 2), ("+", 0)]
    symbol, other = draw.one(*by, ("+", X), ("-", X), ("==", X))
    return _do(Infix(X, symbol, other))


def _function(draw: Draw) -> list[Statement]:
    names = ("log1p", "sqrt", "exp", "abs", "sign", "square", "expm1", "negative", "sum", "mean")
    return _do(getattr(np_, draw.one(*names))(X))


def _index(draw: Draw) -> list[Statement]:
    rows, columns = selection(draw, 0, named=False), selection(draw, 1, named=False)
    return _do(X[draw.one(rows, (rows, columns), (slice(None), columns))])


def _values(draw: Draw) -> list[Statement]:
    """Values that users look at."""
    return _do(
        draw.one(
            adata.to_df(**draw.some({"layer": (layer,)})),
            adata.obs_vector(draw.one("g1", "q", "nope"), **draw.some({"layer": (layer,)})),
            adata.var_vector(draw.one("c1", "mt", "nope"), **draw.some({"layer": (layer,)})),
            X.shape,
            X.dtype,
            X.T,
            X.astype(draw.one("float32", "float64", "int64")),
            Name("repr")(adata),
            sp.csr_matrix(X),
            adata.raw[:, genes(2)(draw)].X,
        )
    )


def _unique(draw: Draw) -> list[Statement]:
    return _do(adata.obs_names_make_unique()) + _do(adata.var_names_make_unique())


def _categories(draw: Draw) -> list[Statement]:
    new = ["z" + str(c) for c in draw.adata.obs["g"].cat.categories] if _has_labels(draw) else ["z"]
    return _do(draw.one(adata.strings_to_categoricals(), adata.rename_categories("g", new)))


def _has_labels(draw: Draw) -> bool:
    return "g" in draw.adata.obs and draw.adata.obs["g"].dtype == "category"


SCANPY = tuple(operation for operation in (*PREPROCESSING, *TOOLS) if operation.is_installed())
"""Those of the installed scanpy."""

OBJECTS: tuple[tuple[float, Callable[[Draw], list[Statement]]], ...] = (
    (9, _subset),
    (1, _subset_variable),
    (1.2, _concat),
    (1.5, _again),
    (7, _assign),
    (0.5, _delete),
    (4, _transform),
    (1, _reduce),
    (0.8, _arithmetic),
    (0.8, _function),
    (1.5, _index),
    (2, _values),
    (0.5, _unique),
    (0.5, _categories),
    (0.6, draw_neighbors),
)


def next_statements(draw: Draw) -> list[Statement]:
    """Draw what is done next."""
    n, m = draw.adata.shape
    scanpy = [(o.weight, o.draw) for o in SCANPY if n >= o.least[0] and m >= o.least[1]]
    return draw_statements(draw, [*scanpy, *OBJECTS])
