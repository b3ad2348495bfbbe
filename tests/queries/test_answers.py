"""What a matrix answers through the engine, and what the user is told meanwhile."""

from __future__ import annotations

import io
import re

import numpy as np
import pytest
import scanpy as sc

from scanpy_oom.engine import budget
from scanpy_oom.errors import MemoryBudgetExceeded
from scanpy_oom.settings import settings

from ..matrices import annotated, counts, oom


def test_an_array_made_without_asking_by_name_is_announced_once(monkeypatch):
    monkeypatch.setattr(budget, "_announced", set())
    monkeypatch.setattr(budget, "NOTABLE", 0)
    matrix, log, logfile = oom(counts(20, 9).toarray()), io.StringIO(), sc.settings.logfile
    sc.settings.logfile = log
    try:
        for _ in range(2):
            np.asarray(matrix)
        matrix.toarray()
    finally:
        sc.settings.logfile = logfile
    said = log.getvalue()
    assert said.count("Conversion to an array brings the matrix of memory into memory (720 B)") == 1
    assert re.search(r"The call is in .*test_answers\.py, line \d+: `np\.asarray\(matrix\)`\.", said)


def test_what_is_small_is_no_warning(monkeypatch):
    monkeypatch.setattr(budget, "_announced", set())
    monkeypatch.setattr(budget, "NOTABLE", 1000)
    logfile, sc.settings.logfile = sc.settings.logfile, io.StringIO()
    try:
        np.asarray(oom(counts(20, 9).toarray()))
        assert sc.settings.logfile.getvalue() == ""
        np.asarray(oom(counts(40, 9).toarray()))
        assert "(1.44 kB)" in sc.settings.logfile.getvalue()
    finally:
        sc.settings.logfile = logfile


def test_a_refusal_names_the_line_and_the_library_that_asked_for_the_values(monkeypatch):
    monkeypatch.setattr(settings, "_memory_limit", 1000)
    matrix = oom(counts(40, 9).toarray())
    with pytest.raises(
        MemoryBudgetExceeded, match=r"Conversion to an array of OOMMatrix.*`np\.log1p\(np\.asarray\(m"
    ) as error:
        np.log1p(np.asarray(matrix))
    assert "`, through" not in str(error.value)
    with pytest.raises(MemoryBudgetExceeded, match=r"line \d+: `np\.testing\..*`, through numpy/testing/.*py:\d+\.$"):
        np.testing.assert_array_equal(matrix, 0)


def test_a_warning_found_by_a_later_pass_names_the_user_s_line():
    adata = annotated(oom(counts(20, 9)))
    sc.pp.normalize_total(adata, target_sum=10)
    with pytest.warns(UserWarning, match="Some cells have zero counts") as caught:
        sc.pp.highly_variable_genes(adata, flavor="seurat")
    assert [w.filename for w in caught if "zero counts" in str(w.message)] == [__file__]
