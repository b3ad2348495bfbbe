"""Layouts that others write, read out of memory, written again and joined: what anndata has in memory."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import anndata as ad
import h5py
import hdf5plugin
import numpy as np
import pandas as pd
import pytest
import scanpy as sc
from scipy import sparse

from ..matrices import dense

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

pytestmark = [
    pytest.mark.filterwarnings("ignore::UserWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
]

N_OBS, N_VARS = 37, 23
GZIP = {"compression": "gzip", "shuffle": True, "fletcher32": True}


def _matrix(n_vars: int = N_VARS) -> sparse.csr_matrix:
    """Counts, with empty rows and columns."""
    rng = np.random.default_rng(n_vars)
    values = rng.integers(1, 9, (N_OBS, n_vars)) * (rng.random((N_OBS, n_vars)) < 0.3)
    values[[0, 8, -1]] = 0
    values[:, [0, 5, -1]] = 0
    return sparse.csr_matrix(values.astype("f4"))


def _frame(prefix: str, n: int) -> pd.DataFrame:
    return pd.DataFrame(index=[f"{prefix}{i}" for i in range(n)])


def _write_sparse(h5: h5py.Group, name: str, matrix: Any, dtypes: tuple[str, str, str], **options: Any) -> None:
    group = h5.create_group(name)
    encoding = {"encoding-type": f"{matrix.format}_matrix", "encoding-version": "0.1.0", "shape": matrix.shape}
    group.attrs.update(encoding)
    for key, dtype in zip(("data", "indices", "indptr"), dtypes, strict=True):
        group.create_dataset(key, data=getattr(matrix, key).astype(dtype), **options)


def _write_dense(h5: h5py.Group, name: str, matrix: np.ndarray, **options: Any) -> None:
    dataset = h5.create_dataset(name, data=matrix, **options)
    dataset.attrs.update({"encoding-type": "array", "encoding-version": "0.2.0"})


def _csr(data: str = "f4", indices: str = "i4", indptr: str = "i4", **options: Any) -> Callable[[h5py.File], None]:
    return lambda h5: _write_sparse(h5, "X", _matrix(), (data, indices, indptr), **options)


def _csc(data: str = "f4", indices: str = "i4", indptr: str = "i4", **options: Any) -> Callable[[h5py.File], None]:
    return lambda h5: _write_sparse(h5, "X", _matrix().tocsc(), (data, indices, indptr), **options)


def _dense(dtype: str = "f4", **options: Any) -> Callable[[h5py.File], None]:
    return lambda h5: _write_dense(h5, "X", _matrix().toarray().astype(dtype), **options)


def _unsorted(matrix: Any) -> Callable[[h5py.File], None]:
    """Entries from right to left, zeros among them."""

    def write(h5: h5py.File) -> None:
        by_rows = matrix.copy()
        for start, stop in zip(by_rows.indptr, by_rows.indptr[1:], strict=False):
            by_rows.indices[start:stop] = by_rows.indices[start:stop][::-1].copy()
        by_rows.data[::5] = 0
        _write_sparse(h5, "X", by_rows, ("f4", "i4", "i4"))

    return write


def _never_written(h5: h5py.File) -> None:
    dataset = h5.create_dataset("X", (N_OBS, N_VARS), "f4", chunks=(5, 5), fillvalue=2.5)
    dataset.attrs.update({"encoding-type": "array", "encoding-version": "0.2.0"})
    dataset[3:9, 2:4] = 1


def _raw_and_layers(h5: h5py.File) -> None:
    """As scanpy leaves it behind: raw has more genes."""
    _dense("f8", chunks=(10, 7), **GZIP)(h5)
    ad.io.write_elem(h5["layers"], "csc", _matrix().tocsc())
    ad.io.write_elem(h5["layers"], "counts", _matrix().astype("i8"))
    raw = h5.create_group("raw")
    raw.attrs.update({"encoding-type": "raw", "encoding-version": "0.1.0"})
    ad.io.write_elem(raw, "X", _matrix(41).tocsc(), dataset_kwargs={"compression": "lzf"})
    ad.io.write_elem(raw, "var", _frame("raw", 41))
    ad.io.write_elem(raw, "varm", {})


def _annotated(h5: h5py.File) -> None:
    _csc()(h5)
    obs = _frame("cell", N_OBS)
    obs["kind"] = pd.Categorical([["a", "b", None][i % 3] for i in range(N_OBS)])
    obs["number"] = pd.array([1, None, 3] * 12 + [4])
    obs["flag"] = pd.array([True, None, False] * 12 + [True])
    del h5["obs"]
    ad.io.write_elem(h5, "obs", obs)


def _of_anndata_0_6(h5: h5py.File) -> None:
    del h5["obs"], h5["var"]
    matrix = _matrix()
    group = h5.create_group("X")
    group.attrs.update({"h5sparse_format": "csr", "h5sparse_shape": matrix.shape})
    for key in ("data", "indices", "indptr"):
        group[key] = getattr(matrix, key)
    for name, n in (("obs", N_OBS), ("var", N_VARS)):
        table = np.zeros(n, [("index", "S6"), ("total", "f4"), ("n", "i4")])
        table["index"] = [f"{name}{i}" for i in range(n)]
        h5[name] = table


LAYOUTS: dict[str, Callable[[h5py.File], None]] = {
    "booleans": _csr("?", **GZIP),
    "small integers": _csc("u1", chunks=(17,), compression="lzf"),
    "float16": _dense("f2", chunks=(10, 7)),
    "long integers": _dense("i8"),
    "big-endian": _dense(">f4"),
    "big-endian in chunks": _dense(">i2", chunks=(10, 7), compression="gzip"),
    "big-endian indices": _csr("f8", ">i4", ">i8"),
    "unsigned indices": _csr("f4", "u4", "u4"),
    "short indices": _csr("f8", "u1", "i2"),
    "long indices": _csc("i4", "i8", "i8"),
    "mixed indices": _csr("f4", "i4", "i8", chunks=(17,), fletcher32=True),
    "unsorted": _unsorted(_matrix()),
    "unsorted columns": _unsorted(_matrix().tocsc()),
    "shuffle alone": _csr(chunks=(17,), shuffle=True),
    "blosc": _csr(chunks=(17,), **hdf5plugin.Blosc()),
    "zstd": _dense(chunks=(10, 7), **hdf5plugin.Zstd()),
    "columns as chunks": _dense(chunks=(N_OBS, 1), **GZIP),
    "may grow": _dense(chunks=(8, 8), maxshape=(None, None)),
    "chunks that were never written": _never_written,
    "raw and layers": _raw_and_layers,
    "nullable": _annotated,
    "anndata 0.6": _of_anndata_0_6,
}


@pytest.fixture(params=LAYOUTS)
def path(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    ad.AnnData(obs=_frame("cell", N_OBS), var=_frame("gene", N_VARS)).write_h5ad(tmp_path / "a.h5ad")
    with h5py.File(tmp_path / "a.h5ad", "a") as h5:
        LAYOUTS[request.param](h5)
    return tmp_path / "a.h5ad"


def _sorted(adata: ad.AnnData) -> ad.AnnData:
    """Have indices in the order and type in which they come out of memory; SciPy works on no others of some layouts."""

    def canonical(matrix: Any) -> Any:
        if not sparse.issparse(matrix):
            return matrix
        arrays = matrix.data, matrix.indices.astype("i4"), matrix.indptr.astype("i4")
        copy = type(matrix)(arrays, shape=matrix.shape)
        copy.sort_indices()
        return copy

    adata.X = canonical(adata.X)
    for name in [name for name in adata.layers if name is not None]:
        adata.layers[name] = canonical(adata.layers[name])
    if adata.raw is not None:
        adata.raw = ad.AnnData(canonical(adata.raw.X), obs=adata.obs, var=adata.raw.var)
    return adata


@pytest.fixture
def opened(path: Path) -> tuple[ad.AnnData, ad.AnnData]:
    """The file in memory, and out of memory."""
    return _sorted(ad.read_h5ad(path)), sc.read_h5ad(path, backed="oom")


def test_all_of_it_is_as_in_memory(opened, assert_same):
    memory, lazy = opened
    assert_same(_sorted(lazy.to_memory()), memory)
    array, expected = lazy.X.toarray(), dense(memory.X)
    assert array.dtype == expected.dtype
    np.testing.assert_array_equal(array, expected)
    np.testing.assert_array_equal(dense(lazy[::-2, 3:].X), expected[::-2, 3:])


@pytest.mark.parametrize("suffix", ["h5ad", "zarr"])
def test_what_is_written_is_as_from_memory(opened, path, assert_same, suffix):
    found = []
    for k, adata in enumerate(opened):
        target = path.with_name(f"{k}.{suffix}")
        getattr(adata, f"write_{suffix}")(target)
        found.append(getattr(ad, f"read_{suffix}")(target))
    assert_same(_sorted(found[1]), found[0])


@pytest.mark.parametrize("join", ["inner", "outer"])
def test_what_is_joined_is_as_in_memory(opened, assert_same, join):
    def joined(adata: ad.AnnData) -> ad.AnnData:
        parts = {"all": adata, "some": adata[5:, 9:].copy()}
        result = _sorted(ad.concat(parts, join=join, label="part", index_unique="-").to_memory())
        if sparse.issparse(result.X):
            result.X.eliminate_zeros()  # which SciPy drops when it puts columns in another order
        return result

    memory, lazy = opened
    if isinstance(memory.X, np.ndarray):
        memory.X = memory.X.astype(lazy.X.dtype)  # pandas joins no arrays in the other byte order
    assert_same(joined(lazy), joined(memory))
