from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anndata as ad
import h5py
import numpy as np
import pandas as pd
import psutil
import pytest
from scipy import sparse

from scanpy_oom.settings import settings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from scanpy_oom.storage.sources.base import Source


def _to_scipy(source: Source, rows: Any = slice(None)) -> sparse.csr_matrix:
    block = source.read_rows(rows)
    n_rows = len(block.indptr) - 1
    assert (block.indptr.dtype, block.indices.dtype) == (np.int64, np.int32)
    for array in (block.indptr, block.indices, block.data):
        assert array.flags.writeable
    return sparse.csr_matrix((block.data, block.indices, block.indptr), shape=(n_rows, source.shape[1]))


def _load(source: Source) -> Any:
    """Make of a source the matrix that anndata would have read."""
    rows = _to_scipy(source).astype(source.dtype)
    return {"csr": rows.tocsr, "csc": rows.tocsc, "dense": rows.toarray}[source.format]()


def _counts(
    n_rows: int, n_cols: int, *, density: float = 0.1, dtype: Any = "float32", seed: int = 0
) -> sparse.csr_matrix:
    rng = np.random.default_rng(seed)
    matrix = sparse.random(n_rows, n_cols, density=density, format="csr", random_state=rng)
    matrix.data = rng.integers(1, 100, size=matrix.nnz).astype(dtype)
    return matrix


def _assert_same(found: Any, expected: Any, where: str = "adata") -> None:
    """Hold two annotated data, or parts of them, to be equal in kind, type, order and value."""
    assert type(found) is type(expected), where
    if isinstance(expected, ad.AnnData):
        for slot in ("X", "obs", "var", "layers", "obsm", "varm", "obsp", "varp", "uns", "raw"):
            _assert_same(getattr(found, slot), getattr(expected, slot), f"{where}.{slot}")
    elif isinstance(expected, ad.Raw):
        for slot in ("X", "var", "varm"):
            _assert_same(getattr(found, slot), getattr(expected, slot), f"{where}.{slot}")
    elif isinstance(expected, Mapping):
        assert list(found) == list(expected), where
        for key, value in expected.items():
            _assert_same(found[key], value, f"{where}[{key!r}]")
    elif isinstance(expected, pd.DataFrame):
        pd.testing.assert_frame_equal(found, expected, obj=where)
    elif sparse.issparse(expected):
        assert (found.dtype, found.shape, found.format) == (expected.dtype, expected.shape, expected.format), where
        for name in ("data", "indices", "indptr"):
            np.testing.assert_array_equal(getattr(found, name), getattr(expected, name), err_msg=where)
    elif isinstance(expected, np.ndarray):
        assert found.dtype == expected.dtype, where
        np.testing.assert_array_equal(found, expected, err_msg=where)
    elif isinstance(expected, pd.api.extensions.ExtensionArray):
        pd.testing.assert_extension_array_equal(found, expected, obj=where)
    else:
        assert found == expected, where


@pytest.fixture
def assert_same() -> Callable[[Any, Any], None]:
    """Hold two annotated data to be equal in kind, type, order and value."""
    return _assert_same


@pytest.fixture
def to_scipy() -> Callable[..., sparse.csr_matrix]:
    """The rows that a source reads, as a SciPy matrix."""
    return _to_scipy


@pytest.fixture
def load() -> Callable[[Source], Any]:
    """A `wrap` for `read_h5ad` with which it gives what anndata gives in memory."""
    return _load


@pytest.fixture(scope="session")
def counts() -> Callable[..., sparse.csr_matrix]:
    """Make a random count matrix."""
    return _counts


@pytest.fixture
def write_h5ad(tmp_path: Path) -> Callable[..., Path]:
    """Write a matrix as X of an h5ad file with anndata; further arguments are h5py's, for its datasets."""

    def write(X: Any, name: str = "x.h5ad", **kwargs: Any) -> Path:
        path = tmp_path / name
        obs = pd.DataFrame(index=[f"cell{i}" for i in range(X.shape[0])])
        var = pd.DataFrame(index=[f"gene{i}" for i in range(X.shape[1])])
        ad.AnnData(obs=obs, var=var).write_h5ad(path)
        with h5py.File(path, "a") as h5:
            ad.io.write_elem(h5, "X", X, dataset_kwargs=kwargs)
        return path

    return write


@pytest.fixture
def n_open_files() -> Callable[[], int]:
    """Count the files that this process has open, but for those of /proc, from which a thread measures memory."""

    def count() -> int:
        folder = Path("/proc/self/fd")
        if not folder.exists():
            return psutil.Process().num_fds()
        names = []
        for file in folder.iterdir():
            with suppress(FileNotFoundError):  # closed meanwhile, as what lists the folder is
                names.append(str(file.readlink()))
        return sum(not name.startswith("/proc/") for name in names)

    return count


@pytest.fixture
def memory_limit() -> Iterator[Callable[[int | str], None]]:
    """Set `settings.memory_limit` for one test."""

    def set_limit(value: int | str) -> None:
        settings.memory_limit = value

    yield set_limit
    settings.memory_limit = None


@pytest.fixture
def scratch_dir(tmp_path: Path) -> Iterator[Path]:
    """A scratch folder of one test's own."""
    folder = tmp_path / "scratch"
    folder.mkdir()
    settings.scratch_dir = folder
    yield folder
    settings.scratch_dir = None


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """The folder of real files."""
    folder = os.environ.get("SCANPY_OOM_TEST_DATA")
    if not folder:
        pytest.skip("SCANPY_OOM_TEST_DATA is not set: no real files to read")
    return Path(folder)
