"""What is measured on: counts of 8,000 cells and 20,000 genes, 5 to 6 million entries, more than caches hold."""

from __future__ import annotations

import anndata as ad
import numpy as np
import pytest

from scanpy_oom.bench.atlas import write_atlas

N_CELLS, N_GENES = 8_000, 20_000


@pytest.fixture(scope="session")
def counts_file(tmp_path_factory):
    """An h5ad, compressed with gzip."""
    path = tmp_path_factory.mktemp("data") / "counts.h5ad"
    write_atlas(path, n_cells=N_CELLS, n_genes=N_GENES)
    return path


@pytest.fixture(scope="session")
def counts(counts_file):
    """The same in memory."""
    return ad.read_h5ad(counts_file)


@pytest.fixture(scope="session")
def block(counts):
    """The arrays of a decoded block: offsets of rows, columns, values."""
    x = counts.X
    return x.indptr.astype(np.int64), x.indices.astype(np.int32), x.data.astype(np.float64)


@pytest.fixture(scope="session")
def variable(counts):
    """The arrays of a block of the 2,000 genes with the largest variance."""
    squares = counts.X.copy()
    squares.data **= 2
    variance = np.asarray(squares.mean(axis=0) - np.square(counts.X.mean(axis=0))).ravel()
    x = counts.X[:, np.sort(np.argsort(-variance)[:2000])].tocsr()
    return x.indptr.astype(np.int64), x.indices.astype(np.int32), x.data.astype(np.float64)


@pytest.fixture(scope="session")
def codes(counts):
    """The cells' types, as numbers."""
    return counts.obs["cell_type"].cat.codes.to_numpy(dtype=np.int64)
