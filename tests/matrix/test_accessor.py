from __future__ import annotations

import gc
from collections.abc import Iterator

import numpy as np
import pytest
import scanpy as sc

from scanpy_oom import settings

from ..matrices import annotated, counts


@pytest.fixture(scope="module", autouse=True)
def collected() -> Iterator[None]:
    """Nothing is left to be counted against others' limit: an AnnData and its accessor know one another."""
    yield
    gc.collect()


@pytest.fixture
def lazy(tmp_path):
    a = annotated(counts(2000, 50))
    a.layers["other"] = a.X * 2
    a.write_h5ad(tmp_path / "a.h5ad", compression="gzip")
    return sc.read_h5ad(tmp_path / "a.h5ad", backed="oom")


def lines(text: str, label: str) -> list[str]:
    return [line.split(maxsplit=1)[1] for line in text.splitlines() if line.strip().startswith(label + " ")]


def test_each_matrix_is_explained_with_its_chain_its_source_and_what_is_known(lazy):
    sc.pp.calculate_qc_metrics(lazy, percent_top=None)
    text = lazy.oom.explain()
    assert text.startswith("AnnData of 2,000 × 50, out of memory")
    assert lines(text, "source") == ["a.h5ad:/X", "a.h5ad:/layers/other"]
    known, unknown = lines(text, "known")
    assert "col_nnz, col_npos, col_sum, col_sumsq, row_nnz, row_npos, row_sum" in known
    assert unknown == "nothing"
    sc.pp.log1p(lazy)
    assert lines(lazy.oom.explain(), "chain") == ["as stored → log1p", "as stored"]


@pytest.mark.parametrize("place", ["in RAM", "in scratch"])
def test_what_is_staged_is_told_with_its_columns_its_size_and_where_it_is(lazy, monkeypatch, place):
    assert lines(lazy.oom.explain(), "cached") == ["nothing: passes read the file"] * 2
    if place == "in scratch":
        monkeypatch.setattr("scanpy_oom.engine.cache.policy.IN_MEMORY", 0)
    sc.pp.calculate_qc_metrics(lazy, percent_top=None)
    (copy,) = lazy.X.copies
    cached = lines(lazy.oom.explain(), "cached")[0]
    assert cached.startswith("all columns, ")
    assert cached.endswith(f"B {place}")
    assert copy.in_memory == (place == "in RAM")


def test_a_stage_of_some_columns_is_told_with_their_number(lazy, monkeypatch):
    monkeypatch.setattr("scanpy_oom.overrides.pp._pca.SMALL", 0)
    some = lazy[:, :20].copy()
    sc.pp.pca(some, n_comps=3)
    assert lines(some.oom.explain(), "cached")[0].startswith("20 columns, ")
    assert lines(lazy.oom.explain(), "cached")[0] == "nothing: passes read the file"


def test_without_stages_nothing_is_said_to_be_staged(lazy, monkeypatch):
    monkeypatch.setattr(settings, "cache", "off")
    sc.pp.calculate_qc_metrics(lazy, percent_top=None)
    assert lines(lazy.oom.explain(), "cached")[0] == "nothing: passes read the file"


def test_explaining_matrices_reads_nothing_and_works_on_views_and_in_memory(lazy):
    before = lazy.X.source.bytes_read
    view = lazy[:, np.arange(10)]
    assert "2,000 × 10" in view.oom.explain()
    assert lazy.X.source.bytes_read == before
    assert "in memory" in annotated(counts(10, 5)).oom.explain()


def test_arguments_without_a_function_are_refused(lazy):
    with pytest.raises(TypeError, match="no function"):
        lazy.oom.explain(n_comps=3)
