"""Small AnnData of every kind, made from a number."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import anndata as ad
import numpy as np
import pandas as pd
from scipy import sparse

from .known import matrices

__all__ = ["Files", "graph", "made", "put_in_order"]

Matrix = np.ndarray | sparse.csr_matrix | sparse.csc_matrix

ROWS = {0: 2, 1: 4, 2: 3, 3: 3, 5: 8, 8: 10, 12: 20, 20: 20, 40: 20, 60: 10}
COLUMNS = {0: 1, 1: 4, 2: 3, 3: 2, 5: 10, 10: 20, 20: 25, 40: 20, 60: 15}
FORMS = {"csr": 5, "csc": 2, "dense": 3}
VALUES = {"counts": 55, "empty rows": 10, "fractions": 15, "negative": 7, "nan": 5, "inf": 3, "large": 5}
ORDERS = {"sorted": 60, "unsorted": 15, "repeated": 6, "zeros": 13}
"""How often, in parts, a size or a kind is drawn."""

DTYPES = {"f4": 50, "f8": 15, "i8": 10, "i4": 5, "b1": 4, "u1": 3, "f2": 3, "u2": 2, "u4": 2, "i2": 2, ">f4": 2}
SIGNED = {"f4": 50, "f8": 20, "i4": 10, "i8": 10, "i2": 10}
FLOATS = {"f4": 60, "f8": 30, "f2": 5, ">f4": 5}
"""Types of values that can be anything, whole numbers below zero, and fractions."""


def _one(rng: np.random.Generator, parts: dict[Any, int]) -> Any:
    """Draw a key, as often as its part says."""
    share = np.array(list(parts.values())) / sum(parts.values())
    return list(parts)[int(rng.choice(len(parts), p=share))]


def _values(rng: np.random.Generator, shape: tuple[int, int], kind: str) -> np.ndarray:
    """Draw counts of genes that differ, or what is made of them."""
    x = rng.poisson(rng.gamma(0.7, 1.5, (1, shape[1])) * np.ones((shape[0], 1))) * (rng.random(shape) < 0.7)
    x = x.astype(float)
    some = rng.random(shape) < 0.05
    if kind == "empty rows" and x.size:
        x[rng.integers(shape[0])] = 0
        x[:, rng.integers(shape[1])] = 0
    elif kind == "fractions":
        x = np.round(x * rng.lognormal(0, 1, shape), 3)
    elif kind == "negative":
        x *= rng.choice([-1, 1], shape)
    elif kind == "large":
        x *= rng.choice([1, 1, 1000, 70_000], shape)
    elif kind in {"nan", "inf"}:
        x[some] = float(kind)
    return x


def _matrix(rng: np.random.Generator, shape: tuple[int, int], form: str, kind: str) -> Matrix:
    """Draw a matrix of a form, with values of a kind."""
    parts = FLOATS if kind in {"fractions", "nan", "inf"} else SIGNED if kind == "negative" else DTYPES
    dtype = np.dtype(_one(rng, parts))
    x = _values(rng, shape, kind)
    if dtype.kind in "iu":
        x = np.clip(x, np.iinfo(dtype).min, np.iinfo(dtype).max)
    with np.errstate(over="ignore"):  # half precision ends at 65,504
        x = x.astype(dtype)
    if form == "dense" or dtype == np.float16:  # of which SciPy has no sparse matrices
        return np.asfortranarray(x) if rng.random() < 0.2 else x
    made = {"csr": sparse.csr_matrix, "csc": sparse.csc_matrix}[form](x.astype(dtype.newbyteorder("=")))
    order = _one(rng, ORDERS)
    return made if order == "sorted" else _reordered(rng, made, order)


def _reordered(rng: np.random.Generator, x: Any, order: str) -> Any:
    """Return the matrix with entries out of order, stored twice, or zeros among them."""
    indices, data, indptr = [], [], [0]
    for start, stop in zip(x.indptr[:-1], x.indptr[1:], strict=True):
        i, values = x.indices[start:stop], x.data[start:stop]
        if order == "repeated" and len(i):
            again = rng.integers(len(i), size=rng.integers(0, 3))
            i, values = np.r_[i, i[again]], np.r_[values, values[again]]
        if order == "zeros":
            free = np.setdiff1d(np.arange(x.shape[1] if x.format == "csr" else x.shape[0]), i)[:1]
            i, values = np.r_[i, free], np.r_[values, np.zeros(len(free), x.dtype)]
        place = np.argsort(i, kind="stable") if order == "zeros" else rng.permutation(len(i))
        indices.append(i[place])
        data.append(values[place])
        indptr.append(indptr[-1] + len(i))
    if not data:
        return x
    numbers = np.concatenate(indices).astype(rng.choice(["i4", "i8"]))
    return type(x)((np.concatenate(data).astype(x.dtype), numbers, np.array(indptr)), shape=x.shape)


def _obs(rng: np.random.Generator, n: int) -> pd.DataFrame:
    """Draw labels, batches, flags and numbers of cells."""
    index = [f"c{i}" for i in range(n)]
    groups = ["B", "A", "C"][: int(rng.integers(1, 4))]  # not in the order of the alphabet
    unused = ["unused"] if rng.random() < 0.2 else []
    g = pd.Series(pd.Categorical(rng.choice(groups, n), categories=groups + unused), index=index)
    if rng.random() < 0.1:
        g[rng.random(n) < 0.15] = np.nan
    obs = pd.DataFrame({"g": g, "b": pd.Categorical(rng.choice(["x", "y"], n), categories=["x", "y"])}, index=index)
    obs["flag"] = rng.random(n) < 0.5
    obs["q"] = rng.normal(size=n)
    obs["i"] = rng.integers(0, 4, n)
    obs["s"] = rng.choice(["u", "v"], n).astype(object)
    if rng.random() < 0.06:
        obs.index = [f"c{i // 2}" for i in range(n)]
    return obs


def _var(rng: np.random.Generator, m: int) -> pd.DataFrame:
    """Draw flags, symbols and groups of genes."""
    var = pd.DataFrame({"mt": rng.random(m) < 0.2, "hv": rng.random(m) < 0.6}, index=[f"g{i}" for i in range(m)])
    var["sym"] = pd.Series([f"S{i}" for i in range(m)], index=var.index, dtype=object)
    var["vg"] = pd.Categorical(rng.choice(["p", "q"], m), categories=["p", "q"])
    if rng.random() < 0.06:
        var.index = [f"g{i // 2}" for i in range(m)]
    return var


def made(seed: int) -> ad.AnnData:
    """Make the AnnData of this number."""
    rng = np.random.default_rng([seed, 0])
    shape = n, m = _one(rng, ROWS), _one(rng, COLUMNS)
    form = _one(rng, FORMS)
    adata = ad.AnnData(_matrix(rng, shape, form, _one(rng, VALUES)), obs=_obs(rng, n), var=_var(rng, m))
    for name, chance in (("counts", 0.35), ("l2", 0.2)):
        if rng.random() < chance:
            kind = "counts" if rng.random() < 0.5 else "fractions"
            adata.layers[name] = _matrix(rng, shape, form if rng.random() < 0.7 else _one(rng, FORMS), kind)
    if rng.random() < 0.25:
        adata.obsm["X_pca"] = rng.normal(size=(n, min(n, 5)))
    if rng.random() < 0.2:
        adata.raw = adata.copy()
        if rng.random() < 0.5:
            adata = adata[:, : m // 2 + 1].copy()
    return adata


def put_in_order(adata: ad.AnnData) -> None:
    """Sort the entries of each row or column in memory, and make one of those that are stored twice."""
    for x in matrices(adata).values():
        if sparse.issparse(x):
            x.sum_duplicates()


def graph(n: int) -> sparse.csr_matrix:
    """Make neighbors: a symmetric graph of `n` cells, the same each time."""
    x = (np.random.default_rng(n).random((n, n)) < 0.4).astype(float)
    np.fill_diagonal(x, 0)
    return sparse.csr_matrix(np.maximum(x, x.T))


class Files:
    """Writes AnnData, and reads them in memory or out of memory.

    Parameters
    ----------
    folder
        Where to.
    backed
        As for :func:`anndata.read_h5ad`.
    """

    def __init__(self, folder: str | Path, backed: Literal["oom"] | None = None) -> None:
        self.folder, self.backed = Path(folder), backed
        self.written = 0

    def made(self, seed: int) -> ad.AnnData:
        """Return what :func:`made` makes, read from a file."""
        rng = np.random.default_rng([seed, 1])
        compression = rng.choice(np.array([None, "gzip", "lzf"], dtype=object))
        return self.again(made(seed), compression=compression)

    def again(self, adata: ad.AnnData, **options: Any) -> ad.AnnData:
        """Write an AnnData, and read it again."""
        self.written += 1
        path = self.folder / f"{self.backed or 'memory'}{self.written}.h5ad"
        adata.write_h5ad(path, **options)
        return ad.read_h5ad(path, backed=self.backed)
