"""What differs between what a call left behind in memory and out of memory: a list, where assertions stop at the first.

The values of matrices may be off by what single precision is after some steps: chains are long, and divide by what
is nearly zero. `tests/comparison.py` holds each function alone to the last bits.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import anndata as ad
import numpy as np
import pandas as pd
from scipy import sparse

from scanpy_oom.matrix import OOMMatrix

__all__ = ["EXACT", "Tolerance", "differences"]


class Tolerance(NamedTuple):
    """How far numbers may be off: relative to each, and relative to the largest of their array."""

    each: float
    largest: float


ROUNDED = Tolerance(1e-4, 1e-5)
EXACT = Tolerance(0, 0)


def differences(memory: Any, lazy: Any, where: str = "adata", tolerance: Tolerance = ROUNDED) -> list[str]:
    """Return where two results differ, and how: values, types, dtypes, keys and their order.

    Parameters
    ----------
    memory, lazy
        Whatever a call returned, or what holds it.
    where
        What this is.
    tolerance
        How far numbers may be off.
    """
    return list(_differences(memory, lazy, where, tolerance))


def _differences(a: Any, b: Any, where: str, tolerance: Tolerance) -> Iterator[str]:
    for kinds, compare in _KINDS:
        if isinstance(a, kinds) or isinstance(b, kinds):
            if isinstance(a, kinds) and isinstance(b, kinds):
                yield from compare(a, b, where, tolerance)
            else:
                yield f"{where}: type {_type(a)} vs {_type(b)}"
            return
    if _type(a) != _type(b):
        yield f"{where}: type {_type(a)} vs {_type(b)}"
    elif isinstance(a, str | bytes | int | float | complex | np.generic) and not (a == b or (a != a and b != b)):
        off = _numbers(a, b, tolerance) if isinstance(a, float | np.inexact) else f"{a!r} vs {b!r}"
        if off:
            yield f"{where}: {off}"


def _type(value: Any) -> str:
    return type(value).__name__.removesuffix("View")  # a view of anndata is what it views


def _anndata(a: ad.AnnData, b: ad.AnnData, where: str, tolerance: Tolerance) -> Iterator[str]:
    if a.shape != b.shape:
        yield f"{where}: shape {a.shape} vs {b.shape}"
        return
    if a.is_view != b.is_view:
        yield f"{where}: is_view {a.is_view} vs {b.is_view}"
    for name in ("X", "obs", "var"):
        yield from _differences(getattr(a, name), getattr(b, name), f"{where}.{name}", tolerance)
    for name in ("layers", "obsm", "varm", "obsp", "varp", "uns"):
        one, other = ({k: v for k, v in getattr(x, name).items() if k is not None} for x in (a, b))  # None is X
        yield from _differences(one, other, f"{where}.{name}", tolerance)
    if (a.raw is None) != (b.raw is None):
        yield f"{where}.raw: None? {a.raw is None} vs {b.raw is None}"
    elif a.raw is not None:
        for name in ("X", "var"):
            yield from _differences(getattr(a.raw, name), getattr(b.raw, name), f"{where}.raw.{name}", tolerance)
        yield from _differences(dict(a.raw.varm), dict(b.raw.varm), f"{where}.raw.varm", tolerance)


def _frame(a: pd.DataFrame, b: pd.DataFrame, where: str, tolerance: Tolerance) -> Iterator[str]:
    if list(a.columns) != list(b.columns):
        yield f"{where}: columns {list(a.columns)} vs {list(b.columns)}"
        return
    yield from _index(a.index, b.index, f"{where}.index", tolerance)
    if len(a) == len(b):
        for i, name in enumerate(a.columns):  # of which there may be two
            yield from _series(a.iloc[:, i], b.iloc[:, i], f"{where}[{name}]", tolerance)


def _index(a: pd.Index, b: pd.Index, where: str, tolerance: Tolerance) -> Iterator[str]:
    if a.dtype != b.dtype:
        yield f"{where}: dtype {a.dtype} vs {b.dtype}"
    if a.name != b.name:
        yield f"{where}: name {a.name!r} vs {b.name!r}"
    if len(a) != len(b) or not all(map(_same, a, b)):
        yield f"{where}: {list(a)[:5]} vs {list(b)[:5]}"


def _series(a: pd.Series, b: pd.Series, where: str, tolerance: Tolerance) -> Iterator[str]:
    if str(a.dtype) != str(b.dtype):
        yield f"{where}: dtype {a.dtype} vs {b.dtype}"
    elif isinstance(a.dtype, pd.CategoricalDtype):
        if list(a.cat.categories) != list(b.cat.categories):
            yield f"{where}: categories {list(a.cat.categories)} vs {list(b.cat.categories)}"
            return
        if a.cat.ordered != b.cat.ordered:
            yield f"{where}: ordered {a.cat.ordered} vs {b.cat.ordered}"
        a, b = a.cat.codes, b.cat.codes
    if off := _numbers(a.to_numpy(), b.to_numpy(), tolerance):
        yield f"{where}: {off}"


def _mapping(a: Mapping, b: Mapping, where: str, tolerance: Tolerance) -> Iterator[str]:
    if list(a) != list(b):
        yield f"{where}: keys {list(a)} vs {list(b)}"
        return
    for key in a:
        yield from _differences(a[key], b[key], f"{where}[{key}]", tolerance)


def _sequence(a: Any, b: Any, where: str, tolerance: Tolerance) -> Iterator[str]:
    if type(a) is not type(b) or len(a) != len(b):
        yield f"{where}: type {_type(a)} of {len(a)} vs {_type(b)} of {len(b)}"
        return
    for i, (one, other) in enumerate(zip(a, b, strict=True)):
        yield from _differences(one, other, f"{where}[{i}]", tolerance)


def _matrix(a: Any, b: Any, where: str, tolerance: Tolerance) -> Iterator[str]:
    if getattr(a.dtype, "names", None):
        if a.dtype != b.dtype:
            yield f"{where}: dtype {a.dtype} vs {b.dtype}"
            return
        for name in a.dtype.names:
            yield from _matrix(np.asarray(a[name]), np.asarray(b[name]), f"{where}.{name}", tolerance)
        return
    (form, dtype, values), (other_form, other_dtype, other_values) = _array(a), _array(b)
    if form != other_form:
        yield f"{where}: format {form} vs {other_form}"
    if dtype != other_dtype:
        yield f"{where}: dtype {dtype} vs {other_dtype}"
    if off := _numbers(values, other_values, tolerance):
        yield f"{where}: {off}"


def _array(x: Any) -> tuple[str, np.dtype, np.ndarray]:
    """Return how a matrix is stored, its type as it says itself, and its values."""
    dtype = x.dtype
    if isinstance(x, OOMMatrix):
        x = x.to_memory()
        dtype = x.dtype if x.dtype.newbyteorder("=") == dtype else dtype  # the bytes of arrays have their order there
    if sparse.issparse(x):
        wide = x.astype(np.float32) if x.dtype == np.float16 else x  # SciPy has no dense form of half precision
        return x.format, dtype, wide.toarray()
    return "matrix" if isinstance(x, np.matrix) else "dense", dtype, np.asarray(x)


def _numbers(a: Any, b: Any, tolerance: Tolerance) -> str:
    """Say how values differ, by the pair that is farthest apart; nothing if they are alike."""
    a, b = np.asarray(a), np.asarray(b)
    if a.shape != b.shape:
        return f"shape {a.shape} vs {b.shape}"
    if a.dtype.kind not in "fciub" or b.dtype.kind not in "fciub":
        off = [i for i, (one, other) in enumerate(zip(a.ravel(), b.ravel(), strict=True)) if not _same(one, other)]
        return f"item {off[0]}: {a.flat[off[0]]!r} vs {b.flat[off[0]]!r}" if off else ""
    if a.dtype.kind in "fc" or b.dtype.kind in "fc":
        a, b = (x.astype(complex if "c" in (a.dtype.kind, b.dtype.kind) else float) for x in (a, b))
    with np.errstate(all="ignore"):
        apart = np.abs(a - b) if a.dtype.kind in "fc" else (a != b).astype(float)
        largest = np.abs(a, dtype=float, casting="unsafe").max(initial=0, where=np.isfinite(a))
        allowed = tolerance.each * np.abs(a, dtype=float, casting="unsafe") + tolerance.largest * max(largest, 1e-30)
        near = (apart <= allowed) & np.isfinite(a)  # of infinity, any number is within any part
        alike = (a == b) | (np.isnan(a) & np.isnan(b)) | near
    if np.all(alike):
        return ""
    place = np.unravel_index(np.argmax(np.where(alike, -1, np.nan_to_num(apart, nan=np.inf))), a.shape)
    at = tuple(map(int, place))
    return f"{np.size(alike) - np.sum(alike)}/{a.size} differ, most at {at}: {a[at]!r} vs {b[at]!r}"


def _same(a: Any, b: Any) -> bool:
    """Tell whether two objects in an array are alike: missing ones of a kind are."""
    if a is b:
        return True
    missing = pd.api.types.is_scalar(a) and pd.isna(a), pd.api.types.is_scalar(b) and pd.isna(b)
    return all(missing) if any(missing) else bool(np.all(a == b))


_KINDS = (
    (ad.AnnData, _anndata),
    (pd.DataFrame, _frame),
    (pd.Series, _series),
    (pd.Index, _index),
    (Mapping, _mapping),
    ((np.ndarray, sparse.spmatrix, sparse.sparray, OOMMatrix), _matrix),
    (list | tuple, _sequence),
)
