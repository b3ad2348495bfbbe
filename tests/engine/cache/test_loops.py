"""Loops over matrices without a file of their own; `test_column_copy` has those over a file."""

from __future__ import annotations

import anndata as ad
import numpy as np
import pytest
import scanpy as sc

from ...comparison import passes_of
from ...matrices import annotated, counts, dense

ELSEWHERE = {
    "in memory": lambda a: a.X.data.__setitem__(slice(0, 5), 3),
    "in scratch space": lambda a: sc.pp.downsample_counts(a, counts_per_cell=5),
    "in two files": lambda a: setattr(a, "X", ad.concat([a[:900], a[900:]]).X),
}


@pytest.mark.parametrize("change", ELSEWHERE.values(), ids=ELSEWHERE)
def test_loops_over_what_is_no_longer_in_a_file_of_its_own_take_three_passes(change, tmp_path):
    memory = annotated(counts(2000, 60, density=0.2))
    memory.write_h5ad(tmp_path / "a.h5ad")
    lazy = sc.read_h5ad(tmp_path / "a.h5ad", backed="oom")
    for adata in (memory, lazy):
        change(adata)
    read = lambda a: [*(dense(a[:, g].X) for g in a.var_names), *(dense(a.X[i]) for i in range(0, a.n_obs, 50))]
    assert passes_of(lambda: read(lazy)) <= 3
    for found, expected in zip(read(lazy), read(memory), strict=True):
        np.testing.assert_array_equal(found, expected)
