from __future__ import annotations

import anndata as ad
import numpy as np
import pytest
import scanpy as sc
from scipy import sparse

from scanpy_oom.errors import OOMError


@pytest.mark.parametrize("kind", [sparse.csr_matrix, sparse.csc_matrix])
@pytest.mark.parametrize("dtype", ["int64", "uint64", "float64"])
@pytest.mark.parametrize("by", ["rows", "columns"])
def test_sums_of_repeated_entries_that_double_precision_does_not_hold_are_refused(tmp_path, kind, dtype, by):
    at = np.array([0, 0, 1])
    x = kind((np.array([2**52, 2**52 + 1, 5], dtype=dtype), at, np.array([0, 3, 3])), shape=(2, 2))
    ad.AnnData(x).write_h5ad(tmp_path / "x.h5ad")
    lazy = sc.read_h5ad(tmp_path / "x.h5ad", backed="oom").X

    def total():
        return lazy.sum() if by == "rows" else lazy[:, :1].sum(axis=0).sum()

    if dtype == "float64":  # which rounds in memory, too
        assert total() == pytest.approx(2.0**53, rel=1e-12)
        return
    with pytest.raises(
        OOMError, match=r"x\.h5ad:/X holds several entries for one cell and gene, and their sum may exceed"
    ):
        total()
