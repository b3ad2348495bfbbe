"""Any matrices, joined in any way: what `anndata.concat` gives in memory."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from typing import Any

import anndata as ad
import numpy as np
import pandas as pd
import pytest
import scanpy as sc
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scipy import sparse

from scanpy_oom import OOMMatrix
from scanpy_oom.storage.sources.memory import MemorySource

from ...joined import assert_same, lognormalize, outcome

GENES = [f"g{i}" for i in range(9)]
DTYPES = ["float32", "float64", "int32", "int64", "uint8", "bool"]
KINDS: dict[str, Callable[[np.ndarray], Any]] = {
    "csr": sparse.csr_matrix,
    "csc": sparse.csc_matrix,
    "csr_array": sparse.csr_array,
    "dense": np.asarray,
}


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def on_disk(matrix: Any) -> Any:
    return OOMMatrix.from_source(MemorySource(matrix))


def with_matrices_on_disk(adata: ad.AnnData) -> ad.AnnData:
    """The same, with X, layers and raw read by the package."""
    out = adata.copy()
    for name in list(out.layers):
        if name is not None:  # which is X
            out.layers[name] = on_disk(adata.layers[name].copy())
    if adata.raw is not None:
        raw = ad.AnnData(on_disk(adata.raw.X.copy()), obs=pd.DataFrame(index=adata.obs_names), var=adata.raw.var)
        out.raw = raw
    if adata.X is not None:
        out.X = on_disk(adata.X.copy())
    return out


STEPS: dict[str, Callable[[ad.AnnData], Any]] = {
    "nothing": lambda adata: None,
    "normalize": lambda adata: sc.pp.normalize_total(adata, target_sum=10),
    "lognormalize": lognormalize,
    "scale": sc.pp.scale,
    "scale without centring": lambda adata: sc.pp.scale(adata, zero_center=False),
}


@st.composite
def parts(draw: st.DrawFn) -> tuple[ad.AnnData, ad.AnnData]:
    """An AnnData in memory, and the same read by the package or (seldom) in memory too."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    n_obs, genes = draw(st.integers(0, 7)), draw(st.lists(st.sampled_from(GENES), unique=True, max_size=9))
    dtype, kind = draw(st.sampled_from(DTYPES)), draw(st.sampled_from(list(KINDS)))
    counts = (rng.poisson(2, (n_obs, len(genes))) * (rng.random((n_obs, len(genes))) < 0.6)).astype(dtype)
    var = pd.DataFrame({"length": np.arange(len(genes))}, index=pd.Index(genes, dtype=object))
    whole = ad.AnnData(KINDS[kind](counts), obs=pd.DataFrame(index=[f"c{i}" for i in range(n_obs)]), var=var)
    if draw(st.booleans()):
        whole.raw = whole
    if draw(st.booleans()):
        whole.layers["counts"] = KINDS[kind](counts[::-1].copy())
    step = draw(st.sampled_from(list(STEPS))) if dtype.startswith("float") and 0 not in whole.shape else "nothing"
    rows = draw(st.none() | st.lists(st.integers(0, n_obs - 1), max_size=9)) if n_obs else None
    columns = draw(st.none() | st.lists(st.integers(0, len(genes) - 1), unique=True)) if genes else None
    is_lazy = bool(draw(st.integers(0, 4)))

    def make() -> ad.AnnData:
        adata = with_matrices_on_disk(whole) if is_lazy else whole.copy()
        if is_lazy:
            STEPS[step](adata)
        adata = adata if rows is None else adata[rows]
        return adata if columns is None else adata[:, columns]

    # not the same object twice: what is found of one on its way to memory is still to be found of the other
    return make().to_memory(), make()


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(parts(), min_size=1, max_size=4),
    st.fixed_dictionaries(
        {},
        optional={
            "join": st.sampled_from(["inner", "outer"]),
            "label": st.just("batch"),
            "index_unique": st.just("-"),
            "merge": st.sampled_from(["same", "unique", "first", "only"]),
            "fill_value": st.sampled_from([0, 1, -2.5]),
        },
    ),
)
def test_the_result_is_that_of_the_same_matrices_in_memory(
    pairs: list[tuple[ad.AnnData, ad.AnnData]], arguments: dict[str, Any]
) -> None:
    expected = outcome([memory for memory, _ in pairs], arguments)
    found = outcome([lazy for _, lazy in pairs], arguments)
    if isinstance(expected, type):
        assert found is expected
        return
    assert isinstance(found, ad.AnnData)
    on_disk_ones = all(isinstance(lazy.X, OOMMatrix) for _, lazy in pairs)
    assert_same(found, expected, is_lazy=on_disk_ones and expected.X is not None and expected.X.dtype != object)
