from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anndata as ad
import numpy as np
import pandas as pd
import pytest
from scipy import sparse

from scanpy_oom.settings import settings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from scanpy_oom.io.source import Source


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


def _counts(n_rows: int, n_cols: int, *, density: float = 0.1, dtype: Any = "float32", seed: int = 0) -> sparse.csr_matrix:
    rng = np.random.default_rng(seed)
    matrix = sparse.random(n_rows, n_cols, density=density, format="csr", rng=rng)
    matrix.data = rng.integers(1, 100, size=matrix.nnz).astype(dtype)
    return matrix


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
    """Write a matrix as X of an h5ad file with anndata."""

    def write(X: Any, name: str = "x.h5ad", **kwargs: Any) -> Path:
        path = tmp_path / name
        obs = pd.DataFrame(index=[f"cell{i}" for i in range(X.shape[0])])
        var = pd.DataFrame(index=[f"gene{i}" for i in range(X.shape[1])])
        ad.AnnData(X, obs=obs, var=var).write_h5ad(path, **kwargs)
        return path

    return write


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
