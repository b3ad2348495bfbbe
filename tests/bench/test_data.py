"""The matrices that benchmark and demo run on: those that are made, and samples of any."""

from __future__ import annotations

from pathlib import Path

import anndata as ad
import numpy as np
import pytest

from scanpy_oom.bench import atlas
from scanpy_oom.bench.atlas import write_atlas
from scanpy_oom.bench.data import GROUP, inspect_counts, make_sample
from scanpy_oom.bench.main import Options, compile_kernels


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("small") / "small.h5ad"
    write_atlas(path, n_cells=300, n_genes=2500)
    return path


def test_the_made_matrix_looks_like_counts_of_cells(tmp_path: Path) -> None:
    write_atlas(tmp_path / "x.h5ad", n_cells=1000, n_genes=20_000)
    adata = ad.read_h5ad(tmp_path / "x.h5ad")
    assert adata.shape == (1000, 20_000)
    assert (adata.X.data >= 1).all()
    assert (adata.X.data == adata.X.data.round()).all()
    assert adata.X.has_canonical_format
    assert 0.04 < adata.X.nnz / np.prod(adata.shape) < 0.09
    totals = np.asarray(adata.X.sum(axis=1)).ravel()
    mitochondrial = np.asarray(adata[:, adata.var_names.str.startswith("MT-")].X.sum(axis=1)).ravel() / totals
    assert 0.01 < np.median(mitochondrial) < 0.06
    assert (mitochondrial > 0.2).any()
    assert (totals < 300).any()
    assert set(adata.obs["cell_type"]) == set(atlas.CELL_TYPES)
    is_b = adata.obs["cell_type"].str.startswith("B ")
    assert adata[is_b, "MS4A1"].X.mean() > 10 * adata[~is_b, "MS4A1"].X.mean()


def test_counts_are_negative_binomial_around_the_profile() -> None:
    profile = np.repeat([0.3, 0.1, 0.01, 0.0001], [1, 5, 19, 100])
    profile /= profile.sum()
    n, library = 20_000, 500.0
    keep, alias = atlas._alias_table(profile)
    lengths, indices, counts = atlas._draw_cells(
        np.zeros(n, np.int64), np.full(n, library), np.zeros(n), profile[None], keep[None], alias[None],
        13, 0.15, np.random.default_rng(0),
    )  # fmt: skip
    rows = np.repeat(np.arange(n), lengths)
    dense = np.zeros((n, profile.size))
    dense[rows, indices] = counts
    mean = library * profile
    np.testing.assert_allclose(dense.mean(axis=0), mean, rtol=0.05, atol=0.01)
    np.testing.assert_allclose(dense.var(axis=0), mean + 0.15 * mean**2, rtol=0.1, atol=0.01)


def test_the_same_seed_makes_the_same_matrix(tmp_path: Path) -> None:
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        write_atlas(tmp_path / name, n_cells=300, n_genes=2500, seed=seed)
    a, b, c = (ad.read_h5ad(tmp_path / name) for name in "abc")
    assert (a.X != b.X).nnz == 0
    assert (a.X != c.X).nnz > 0


@pytest.mark.parametrize("as_stored", ["csr", "csc", "dense"])
@pytest.mark.parametrize("dtype", ["float32", "int64"])
def test_kernels_are_compiled_for_a_file_as_it_is_stored(
    small: Path, tmp_path: Path, as_stored: str, dtype: str
) -> None:
    adata = ad.read_h5ad(small)
    values = adata.X.astype(dtype)
    adata.X = values.toarray() if as_stored == "dense" else values.asformat(as_stored)
    adata.write_h5ad(tmp_path / "x.h5ad", compression="lzf")
    counts = inspect_counts(tmp_path / "x.h5ad")
    assert (counts.format, counts.dtype, counts.compression) == (as_stored, dtype, "lzf")
    sample = inspect_counts(make_sample(counts, tmp_path / "sample.h5ad"))
    assert (sample.format, sample.dtype, sample.compression) == (counts.format, counts.dtype, counts.compression)
    assert sample.categories == [GROUP]


def test_a_sample_has_cells_from_everywhere_and_those_with_few_entries(
    small: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("scanpy_oom.bench.data.SAMPLE_CELLS", 100)
    monkeypatch.setattr("scanpy_oom.bench.data.MIN_CELLS", 1)
    whole = ad.read_h5ad(small)
    sample = ad.read_h5ad(make_sample(inspect_counts(small), tmp_path / "sample.h5ad"))
    assert 90 <= sample.n_obs <= 100
    assert sample.var_names.equals(whole.var_names)
    lengths = np.diff(whole.X.indptr)
    assert np.isin(np.sort(lengths)[:10], np.diff(sample.X.indptr)).all()
    assert np.array_equal(sample.X[-1].toarray(), whole.X[-1].toarray())


def test_the_first_run_compiles_what_is_kept_of_the_graph_and_nothing_of_what_is_not(
    small: Path, tmp_path: Path
) -> None:
    steps = ("read", "qc", "normalize", "log1p", "pca", "neighbors", "umap")
    options = Options(backends=("oom", "oom-fast"), steps=steps, out=tmp_path / "out")
    of_scanpy, of_ours = compile_kernels(options, inspect_counts(small), tmp_path)
    assert [step.step for step in of_scanpy.steps] == list(steps[:5])
    assert [step.step for step in of_ours.steps] == list(steps)
