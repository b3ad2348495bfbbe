"""What a scanpy call does in memory, and that it does the same out of memory."""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Callable, Mapping
from typing import Any

import anndata as ad
import numpy as np
import pandas as pd
import pytest
import scanpy as sc
from scipy import sparse

from scanpy_oom.engine.runtime import pass_log
from scanpy_oom.matrix import OOMMatrix

from .matrices import dense, pair

RTOL = 1e-6
"""Relative to the largest value of a vector: scanpy adds up single-precision values in single precision, whose steps
are 6e-8 apart, so that sums of some hundred values are off by 1e-6; out of memory the sums are double."""

ERRORS = (ValueError, TypeError, IndexError, KeyError, AttributeError, ZeroDivisionError, NotImplementedError)
"""What scanpy raises on data or arguments that it cannot work on."""


def assert_same(memory: Any, lazy: Any, where: str = "result", *, rtol: float = RTOL, x_rtol: float = 0) -> None:
    """Assert that two results are alike: types, keys, their order, dtypes and values.

    Parameters
    ----------
    memory, lazy
        Whatever a call returned, or what holds it.
    where
        What this is, for the message.
    rtol
        How far numbers may be off, relative to the largest of their vector.
    x_rtol
        The same for matrices that stay on disk: to the last bit unless this says otherwise.
    """
    tolerances = {"rtol": rtol, "x_rtol": x_rtol}
    if isinstance(memory, ad.AnnData):
        assert isinstance(lazy, ad.AnnData), where
        assert_same_anndata(memory, lazy, **tolerances)
    elif isinstance(lazy, OOMMatrix):
        _assert_same_matrix(memory, lazy, where, x_rtol)
    elif isinstance(memory, pd.DataFrame):
        assert list(lazy.columns) == list(memory.columns), where
        pd.testing.assert_index_equal(lazy.index, memory.index)
        for i, name in enumerate(memory.columns):  # of which there may be two
            assert_same(memory.iloc[:, i], lazy.iloc[:, i], f"{where}[{name!r}]", **tolerances)
    elif isinstance(memory, pd.Series):
        assert lazy.dtype == memory.dtype, f"{where}: {lazy.dtype}, not {memory.dtype}"
        _assert_same_values(memory.to_numpy(), lazy.to_numpy(), where, rtol)
    elif isinstance(memory, Mapping):
        assert list(lazy) == list(memory), where
        for key in memory:
            assert_same(memory[key], lazy[key], f"{where}[{key!r}]", **tolerances)
    elif isinstance(memory, list) and _are_floats(memory):
        assert isinstance(lazy, list), where
        _assert_same_values(np.asarray(memory), np.asarray(lazy), where, rtol)
    elif isinstance(memory, tuple | list):
        assert type(lazy) is type(memory), where
        for i, (a, b) in enumerate(zip(memory, lazy, strict=True)):
            assert_same(a, b, f"{where}[{i}]", **tolerances)
    elif isinstance(memory, np.ndarray) and memory.dtype.names:
        assert lazy.dtype == memory.dtype, where
        for name in memory.dtype.names:
            _assert_same_values(memory[name], lazy[name], f"{where}[{name!r}]", rtol)
    elif isinstance(memory, np.ndarray):
        assert isinstance(lazy, np.ndarray), where
        _assert_same_values(memory, lazy, where, rtol)
    elif sparse.issparse(memory):
        assert type(lazy) is type(memory), where
        _assert_same_values(memory.toarray(), lazy.toarray(), where, rtol)
    else:
        assert type(lazy) is type(memory), where
        assert lazy == memory, where


def _are_floats(values: list) -> bool:
    return bool(values) and all(isinstance(v, float) or (isinstance(v, list) and _are_floats(v)) for v in values)


def assert_same_anndata(memory: ad.AnnData, lazy: ad.AnnData, *, rtol: float = RTOL, x_rtol: float = 0) -> None:
    """Assert that all that two AnnData hold is alike, as :func:`assert_same` has it."""
    tolerances = {"rtol": rtol, "x_rtol": x_rtol}
    assert lazy.shape == memory.shape
    for name in ("obs", "var", "X", "uns"):
        assert_same(getattr(memory, name), getattr(lazy, name), name, **tolerances)
    for name in ("obsm", "varm", "obsp", "varp", "layers"):
        a, b = ({k: v for k, v in getattr(adata, name).items() if k is not None} for adata in (memory, lazy))
        assert_same(a, b, name, **tolerances)
    assert (memory.raw is None) == (lazy.raw is None)
    if memory.raw is not None:
        assert_same(memory.raw.var, lazy.raw.var, "raw.var", **tolerances)
        assert_same(memory.raw.X, lazy.raw.X, "raw.X", **tolerances)


def _assert_same_matrix(memory: Any, lazy: OOMMatrix, where: str, rtol: float) -> None:
    assert lazy.dtype == memory.dtype, f"{where}: {lazy.dtype}, not {memory.dtype}"
    if not isinstance(memory, OOMMatrix):
        assert lazy.is_dense == isinstance(memory, np.ndarray), where
        assert lazy.to_memory().dtype == memory.dtype, where
    _assert_same_values(dense(memory), dense(lazy), where, rtol)


def _assert_same_values(memory: np.ndarray, lazy: np.ndarray, where: str, rtol: float) -> None:
    assert lazy.shape == memory.shape, where
    assert lazy.dtype == memory.dtype, f"{where}: {lazy.dtype}, not {memory.dtype}"
    if memory.dtype.kind == "O":
        np.testing.assert_array_equal(pd.isna(lazy), pd.isna(memory), err_msg=where)
        memory, lazy = (values[~pd.isna(values)] for values in (memory, lazy))
    if memory.dtype.kind != "f" or rtol == 0:
        np.testing.assert_array_equal(lazy, memory, err_msg=where)
        return
    largest = np.abs(memory).max(initial=0, where=np.isfinite(memory))
    np.testing.assert_allclose(lazy, memory, rtol=rtol, atol=rtol * largest, err_msg=where)


def assert_same_outcome(
    call: Callable[[ad.AnnData], Any],
    x: Any,
    *,
    before: Callable[[ad.AnnData], Any] | None = None,
    rtol: float = RTOL,
    x_rtol: float = 0,
) -> None:
    """Assert that `call` returns, and leaves behind, the same in memory and out of memory, or raises the same error.

    Parameters
    ----------
    call
        What to do with an AnnData.
    x
        Its X.
    before
        What to do first.
    rtol, x_rtol
        As in :func:`assert_same`.
    """
    memory, lazy = pair(x)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for adata in (memory, lazy):
            if before is not None:
                before(adata)
        try:
            want = call(memory)
        except ERRORS as error:
            with pytest.raises(type(error)):
                call(lazy)
            return
        got = call(lazy)
    assert_same(want, got, rtol=rtol, x_rtol=x_rtol)
    assert_same_anndata(memory, lazy, rtol=rtol, x_rtol=x_rtol)


def assert_same_error(
    call: Callable[[ad.AnnData], Any], memory: ad.AnnData, lazy: ad.AnnData, error: type[Exception]
) -> None:
    """Assert that `call` raises `error` with the same message in and out of memory, where it changes nothing."""
    before = lazy.copy()
    with pytest.raises(error) as want:
        call(memory)
    with pytest.raises(error) as got:
        call(lazy)
    assert got.type is want.type, f"{got.type}, not {want.type}"
    assert str(got.value) == str(want.value), f"{got.value}, not {want.value}"
    assert lazy.X._state is before.X._state
    assert_same_anndata(before, lazy)


def assert_same_warnings(call: Callable[[ad.AnnData], Any], memory: ad.AnnData, lazy: ad.AnnData) -> list[str]:
    """Assert that `call` gives the same warnings in memory and out of memory; return their texts."""
    given = []
    for adata in (memory, lazy):
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            warnings.filterwarnings("ignore", "The '.*' option is deprecated")  # anndata's use of pandas
            warnings.filterwarnings("ignore", "The inplace keyword in DataFrame")  # and scanpy's
            call(adata)
        given.append([(w.category, str(w.message)) for w in caught])
    assert given[1] == given[0], given
    return [text for _, text in given[1]]


def assert_same_log(call: Callable[[ad.AnnData], Any], memory: ad.AnnData, lazy: ad.AnnData) -> str:
    """Assert that `call` has scanpy log the same in memory and out of memory, times aside; return it."""
    logfile, logs = sc.settings.logfile, []
    for adata in (memory, lazy):
        sc.settings.logfile = io.StringIO()
        try:
            with sc.settings.verbosity.override(4):
                call(adata)
            logs.append(re.sub(r"\(\d+:\d+:\d+\)", "(time)", sc.settings.logfile.getvalue()))
        finally:
            sc.settings.logfile = logfile
    assert logs[1] == logs[0], logs
    return logs[1]


def passes_of(call: Callable[[], Any]) -> int:
    """Count the passes that `call` makes."""
    before = pass_log.totals().passes
    call()
    return pass_log.totals().passes - before
