"""What a matrix answers through the engine, and what the user is told meanwhile."""

from __future__ import annotations

import io

import numpy as np
import pytest
import scanpy as sc

from scanpy_oom.passes import budget

from ..matrices import annotated, counts, oom


def test_an_array_made_without_asking_by_name_is_announced_once(monkeypatch):
    monkeypatch.setattr(budget, "_announced", set())
    matrix, log, logfile = oom(counts(20, 9)), io.StringIO(), sc.settings.logfile
    sc.settings.logfile = log
    try:
        for _ in range(2):
            np.asarray(matrix)
        matrix.toarray()
    finally:
        sc.settings.logfile = logfile
    assert log.getvalue().count("numpy.asarray brings the matrix of memory into memory (720 B)") == 1


def test_a_warning_found_by_a_later_pass_names_the_user_s_line():
    adata = annotated(oom(counts(20, 9)))
    sc.pp.normalize_total(adata, target_sum=10)
    with pytest.warns(UserWarning, match="Some cells have zero counts") as caught:
        sc.pp.highly_variable_genes(adata, flavor="seurat")
    assert [w.filename for w in caught if "zero counts" in str(w.message)] == [__file__]
