from __future__ import annotations

import gc
import threading
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import anndata as ad
import numpy as np
import pytest
import scanpy as sc
from scipy import sparse

from scanpy_oom import settings
from scanpy_oom.engine.cache.compact_copy import CompactCopy
from scanpy_oom.engine.explain.explanation import Explanation
from scanpy_oom.engine.reader import SourceReader
from scanpy_oom.engine.runtime import pass_log
from scanpy_oom.overrides.pp import _pca

from ...matrices import annotated, counts, oom


@pytest.fixture(scope="module", autouse=True)
def collected() -> Iterator[None]:
    """Nothing is left to be counted against others' limit: an AnnData and its accessor know one another."""
    yield
    gc.collect()


@pytest.fixture
def alone() -> None:
    """One thread: blocks are read one after the other."""
    settings.n_threads = 1


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def opened(tmp_path: Path, *, n_obs: int = 3000, n_vars: int = 600, **options: Any) -> ad.AnnData:
    path = tmp_path / "a.h5ad"
    a = annotated(counts(n_obs, n_vars))
    if options.pop("as_csc", False):
        a.X = sparse.csc_matrix(a.X)
    if options.pop("as_dense", False):
        a.X = a.X.toarray()
    a.write_h5ad(path, compression=options.pop("compression", "gzip"))
    return sc.read_h5ad(path, backed="oom")


def opened_pbmc3k(path: Path) -> ad.AnnData:
    adata = sc.read_h5ad(path, backed="oom")
    adata.var["mt"] = adata.var_names.str.startswith("MT-")
    adata.obs["kind"] = np.where(np.arange(adata.n_obs) % 3 == 0, "a", "b")
    return adata


def lognormalized(adata: ad.AnnData) -> ad.AnnData:
    sc.pp.normalize_total(adata, target_sum=1e4)
    sc.pp.log1p(adata)
    return adata


class Visited:
    """Counts the stored entries of the rows that are read."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.n = 0
        self._lock = threading.Lock()
        for reader in (SourceReader, CompactCopy):
            monkeypatch.setattr(reader, "read", self._counting(reader.read))

    def _counting(self, read: Any) -> Any:
        def counting(reader: Any, rows: Any, choice: Any = None) -> Any:
            n = int(reader.sizes(rows).sum())
            with self._lock:  # threads read at once
                self.n += n
            return read(reader, rows, choice)

        return counting


def assert_it_happens(adata: ad.AnnData, name: str, *args: Any, monkeypatch: Any, **arguments: Any) -> Explanation:
    """Assert that a call does what was explained, and that explaining it reads nothing and changes nothing."""
    matrix, copy = adata.X, adata.copy()
    known, copies = dict(matrix.statistics.known), list(matrix.copies)
    if matrix.source.column_offsets() is None:
        matrix.source.row_offsets()
    fetched, passes = matrix.source.bytes_read, pass_log.totals().passes
    explanation = adata.oom.explain(name, *args, **arguments)
    assert adata.X is matrix
    assert matrix.source.bytes_read == fetched
    assert pass_log.totals().passes == passes
    assert list(matrix.statistics.known) == list(known)
    assert list(matrix.copies) == copies
    for frame in ("obs", "var"):
        assert getattr(adata, frame).equals(getattr(copy, frame))
        assert getattr(adata, frame).dtypes.equals(getattr(copy, frame).dtypes)
    assert list(adata.uns) == list(copy.uns)
    assert explanation.function.startswith("sc.")

    with monkeypatch.context() as patch:
        visited = Visited(patch)
        namespace, _, short = explanation.function.removeprefix("sc.").rpartition(".")
        getattr(getattr(sc, namespace), short)(adata, *args, **arguments)
    made = pass_log.recent()[len(pass_log.recent()) - (pass_log.totals().passes - passes) :]
    if explanation.repeats:
        assert len(made) >= explanation.n_passes
        return explanation
    assert [planned.reductions for planned in explanation.passes] == [one.reductions for one in made]
    for planned, one in zip(explanation.passes, made, strict=True):
        if planned.bytes_certain:
            assert planned.n_bytes == one.bytes_read
        else:
            assert one.bytes_read <= planned.n_bytes  # what was fetched before may still be at hand
        if planned.blocks_certain:
            assert planned.n_blocks == one.n_blocks
        assert one.peak_buffer <= 1.05 * planned.peak
        assert one.n_rows == planned.shape[0]
    if all(planned.entries_certain for planned in explanation.passes):
        assert explanation.n_entries == visited.n
    else:
        assert explanation.n_entries == pytest.approx(visited.n, rel=0.1)
    return explanation


SCRIPT: list[tuple[str, dict[str, Any], int]] = [
    ("pp.calculate_qc_metrics", {"qc_vars": ["mt"], "percent_top": [5, 20], "inplace": True}, 1),
    ("filter_cells", {"min_genes": 10}, 0),
    ("sc.pp.filter_genes", {"min_cells": 3}, 1),
    ("normalize_total", {"target_sum": 1e4}, 0),
    ("log1p", {}, 0),
    ("highly_variable_genes", {"n_top_genes": 100}, 1),
    ("scale", {"max_value": 10}, 0),
    ("pca", {"n_comps": 5, "svd_solver": "arpack"}, 1),
    ("rank_genes_groups", {"groupby": "kind"}, 1),
]


@pytest.mark.parametrize("threads", ["alone", "quiet"])
@pytest.mark.parametrize("file", ["gzip", "pbmc3k"])
def test_the_script_does_what_was_explained(request, monkeypatch, tmp_path, file, threads):
    request.getfixturevalue(threads)
    adata = opened(tmp_path) if file == "gzip" else opened_pbmc3k(request.getfixturevalue("pbmc3k"))
    for name, arguments, n_passes in SCRIPT:
        explanation = assert_it_happens(adata, name, monkeypatch=monkeypatch, **arguments)
        assert explanation.how == "out of memory"
        # no cell of real counts has so few genes: nothing was taken away
        removed = not (name == "sc.pp.filter_genes" and file == "pbmc3k")
        assert explanation.n_passes == n_passes * removed, name


def test_what_one_thread_fetches_for_the_first_time_is_known_exactly(alone, monkeypatch, tmp_path):
    adata = opened(tmp_path)
    explanation = assert_it_happens(adata, "calculate_qc_metrics", percent_top=None, monkeypatch=monkeypatch)
    assert explanation.bytes_certain
    assert 0 < explanation.n_bytes < adata.X.source.nbytes
    assert "about" not in str(explanation).partition("results")[0]


def test_chunks_that_hold_no_chosen_row_are_not_counted(alone, monkeypatch, pbmc3k):
    adata = opened_pbmc3k(pbmc3k)[1000:1100].copy()
    with monkeypatch.context() as patch:
        patch.setattr(settings, "cache", "off")
        explanation = assert_it_happens(adata, "scale", mask_obs=np.arange(100) < 50, monkeypatch=patch)
    assert explanation.bytes_certain
    assert explanation.n_bytes < adata.X.source.nbytes / 10


@pytest.mark.parametrize("layout", [{"compression": None}, {"as_dense": True}, {"as_csc": True}], ids=str)
def test_files_of_every_layout_are_explained(monkeypatch, tmp_path, layout):
    adata = opened(tmp_path, n_vars=60, **layout)
    for name, arguments in [
        ("normalize_total", {}),
        ("log1p", {}),
        ("highly_variable_genes", {"flavor": "cell_ranger", "n_top_genes": 20}),
        ("rank_genes_groups", {"groupby": "kind"}),
    ]:
        assert_it_happens(adata, name, monkeypatch=monkeypatch, **arguments)


def test_row_offsets_of_a_column_compressed_file_are_not_counted_for_an_explanation(tmp_path):
    adata = opened(tmp_path, as_csc=True)
    explanation = adata.oom.explain("rank_genes_groups", "kind")
    assert adata.X.source.bytes_read < adata.X.source.nbytes / 20
    assert not explanation.bytes_certain
    assert explanation.n_bytes > 0.9 * adata.X.source.nbytes


def test_the_offsets_of_rows_are_all_that_an_explanation_reads(tmp_path):
    adata = opened(tmp_path)
    explanation = adata.oom.explain("calculate_qc_metrics")
    offsets = adata.X.source.bytes_read
    assert 0 < offsets < adata.X.source.nbytes / 20
    assert explanation.n_bytes + offsets == adata.X.source.nbytes


@pytest.mark.parametrize("route", ["small", "gram", "streamed"])
@pytest.mark.parametrize(
    "arguments",
    [{"svd_solver": "randomized"}, {"svd_solver": "arpack"}, {"zero_center": False}, {"mask_var": "mt"}],
    ids=str,
)
@pytest.mark.parametrize("wide", [False, True])
def test_pca_makes_the_passes_that_were_explained(monkeypatch, tmp_path, route, arguments, wide):
    adata = lognormalized(opened(tmp_path, n_obs=100 if wide else 600, n_vars=200 if wide else 60))
    if route != "small":
        monkeypatch.setattr(_pca, "SMALL", 0)
    if route == "streamed":
        monkeypatch.setattr(_pca, "MOST_COLUMNS", 5)
    explanation = assert_it_happens(adata, "pca", n_comps=3, monkeypatch=monkeypatch, **arguments)
    if route == "small":
        assert explanation.n_passes == 1
    elif route == "streamed" and arguments.get("svd_solver") == "arpack":
        assert explanation.repeats
        assert f"at least {explanation.n_passes} passes" in str(explanation)


def test_the_projection_reads_what_the_gram_matrix_leaves(monkeypatch, pbmc3k):
    monkeypatch.setattr(_pca, "SMALL", 0)
    adata = lognormalized(opened_pbmc3k(pbmc3k))
    sc.pp.highly_variable_genes(adata, n_top_genes=2000)
    adata = adata[:, adata.var["highly_variable"]].copy()
    sc.pp.scale(adata)
    explanation = assert_it_happens(adata, "pca", n_comps=10, monkeypatch=monkeypatch)
    gram, projection = explanation.passes
    assert "2,000 columns" in gram.leaves
    assert projection.reads == "the copy of pass 1"
    assert projection.n_entries < gram.n_entries
    assert explanation.n_bytes == 0
    assert explanation.bytes_certain
    assert explanation.results == 2700 * 10 * 4 + 2000 * 10 * 8
    again = adata.oom.explain("pca", n_comps=10)
    assert "2,000 columns" in again.passes[0].reads
    assert again.passes[0].entries_certain


def test_chunks_are_read_twice(monkeypatch, tmp_path):
    adata = opened(tmp_path, n_obs=500, n_vars=30)
    explanation = assert_it_happens(adata, "pca", n_comps=3, chunked=True, chunk_size=200, monkeypatch=monkeypatch)
    assert explanation.n_passes == 6


@pytest.mark.parametrize(
    "arguments",
    [
        {},
        {"key_added": "factor", "target_sum": 10},
        {"exclude_highly_expressed": True, "target_sum": 10},
        {"exclude_highly_expressed": True, "max_fraction": 0.02},
    ],
    ids=str,
)
def test_normalize_total_makes_the_passes_that_were_explained(monkeypatch, tmp_path, arguments):
    explanation = assert_it_happens(opened(tmp_path), "normalize_total", monkeypatch=monkeypatch, **arguments)
    assert explanation.n_passes == (2 if "max_fraction" in arguments else 1)
    second = adata_with_totals(tmp_path).oom.explain("normalize_total")
    assert (second.n_passes, second.reason) == (0, "row totals are known")


def adata_with_totals(tmp_path: Path) -> ad.AnnData:
    adata = opened(tmp_path)
    sc.pp.calculate_qc_metrics(adata)
    return adata


def test_counts_of_genes_follow_from_the_few_cells_that_were_removed(monkeypatch, tmp_path):
    adata = adata_with_totals(tmp_path)
    assert adata.oom.explain("filter_genes", min_cells=3).n_passes == 0
    sc.pp.filter_cells(adata, min_genes=80)
    explanation = assert_it_happens(adata, "filter_genes", min_cells=3, inplace=False, monkeypatch=monkeypatch)
    assert explanation.passes[0].shape[0] == 3000 - adata.n_obs
    assert "removed" in explanation.reason
    assert explanation.passes[0].n_bytes == 0


def test_batches_and_masks_are_part_of_the_plan(monkeypatch, tmp_path):
    adata = lognormalized(opened(tmp_path))
    adata.obs["text"] = adata.obs["batch"].astype(str)
    assert_it_happens(adata, "highly_variable_genes", batch_key="text", monkeypatch=monkeypatch)
    adata.obs["text"] = adata.obs["batch"].astype(str)
    assert_it_happens(adata, "rank_genes_groups", "text", pts=True, mask_var="mt", monkeypatch=monkeypatch)
    assert_it_happens(adata, "scale", mask_obs=np.arange(adata.n_obs) % 2 == 0, monkeypatch=monkeypatch)


def test_a_matrix_in_memory_is_read_for_nothing(monkeypatch):
    adata = annotated(counts(300, 20))
    adata.X = oom(adata.X)
    explanation = assert_it_happens(adata, "calculate_qc_metrics", percent_top=None, monkeypatch=monkeypatch)
    assert explanation.n_bytes == 0
    assert explanation.bytes_certain
