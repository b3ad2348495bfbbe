"""Many files as one: what `anndata.concat` gives in memory, with rows read from where they lie."""

from __future__ import annotations

import io
import pickle
import re
import warnings
from collections.abc import Iterator, Sequence
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import anndata as ad
import numpy as np
import pandas as pd
import pytest
import scanpy as sc
from scipy import sparse

import scanpy_oom
from scanpy_oom import MemoryBudgetExceeded, OOMMatrix
from scanpy_oom.engine.runtime import pass_log
from scanpy_oom.engine.sources.joined import JoinedSource

from ...joined import assert_same, lognormalize, outcome, values
from ...matrices import counts, oom


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def write_parts(folder: Path, whole: ad.AnnData, *, as_dense: bool = False) -> list[Path]:
    """Three files of other cells, each with genes of its own in an order of its own."""
    rng = np.random.default_rng(0)
    paths = []
    for i, cells in enumerate(np.array_split(rng.permutation(whole.n_obs), 3)):
        genes = np.sort(rng.permutation(whole.n_vars)[: whole.n_vars * 9 // 10])
        part = whole[cells, rng.permutation(genes) if i == 1 else genes].copy()
        part.X = part.X.toarray() if as_dense else [sparse.csr_matrix, sparse.csr_matrix, sparse.csc_matrix][i](part.X)
        paths.append(folder / f"part{i}.h5ad")
        part.write_h5ad(paths[-1], compression="gzip")
    return paths


@pytest.fixture(scope="module")
def paths(tmp_path_factory: pytest.TempPathFactory, pbmc3k: Path) -> list[Path]:
    """The cells of a real file, in three."""
    whole = ad.read_h5ad(pbmc3k)
    whole.var_names_make_unique()
    return write_parts(tmp_path_factory.mktemp("parts"), whole)


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """The same of few counts."""
    rng = np.random.default_rng(1)
    counts = sparse.csr_matrix(rng.poisson(1, (90, 40)).astype(np.float32))
    obs = pd.DataFrame({"depth": np.arange(90)}, index=[f"cell{i}" for i in range(90)])
    whole = ad.AnnData(counts, obs=obs, var=pd.DataFrame(index=[f"gene{i}" for i in range(40)]))
    whole.layers["counts"] = counts
    whole.raw = whole
    return write_parts(tmp_path_factory.mktemp("small"), whole)


OPTIONS: dict[str, Any] = {"label": "batch", "keys": ["a", "b", "c"], "index_unique": "-"}


def both(paths: Sequence[Path], **options: Any) -> tuple[ad.AnnData, ad.AnnData]:
    return ad.concat([ad.read_h5ad(path) for path in paths], **options), scanpy_oom.read_h5ad(paths, **options)


def analyse(adata: ad.AnnData) -> None:
    adata.var["mt"] = adata.var_names.str.startswith("MT-")
    sc.pp.calculate_qc_metrics(adata, qc_vars=["mt"], inplace=True)
    sc.pp.filter_cells(adata, min_genes=200)
    sc.pp.filter_genes(adata, min_cells=3)
    adata.layers["counts"] = adata.X.copy()
    sc.pp.normalize_total(adata, target_sum=1e4)
    sc.pp.log1p(adata)
    adata.raw = adata
    sc.pp.highly_variable_genes(adata, n_top_genes=500, batch_key="batch")
    sc.tl.rank_genes_groups(adata, "batch", method="t-test")
    adata._inplace_subset_var(adata.var["highly_variable"].to_numpy())
    sc.pp.scale(adata, max_value=10)
    sc.pp.pca(adata, n_comps=10, svd_solver="arpack")


@pytest.mark.parametrize("join", ["inner", "outer"])
def test_a_script_gives_the_same_over_three_files(join: str, paths: list[Path]) -> None:
    memory, lazy = both(paths, join=join, **OPTIONS)
    for adata in (memory, lazy):
        analyse(adata)
    assert isinstance(lazy.X, OOMMatrix)
    pd.testing.assert_frame_equal(lazy.obs, memory.obs, rtol=1e-5)
    pd.testing.assert_frame_equal(lazy.var, memory.var, rtol=1e-4)
    np.testing.assert_array_equal(values(lazy.layers["counts"]), values(memory.layers["counts"]))
    np.testing.assert_allclose(values(lazy.raw.X), values(memory.raw.X), rtol=1e-6)
    np.testing.assert_allclose(values(lazy.X), values(memory.X), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(np.abs(lazy.obsm["X_pca"]), np.abs(memory.obsm["X_pca"]), rtol=1e-2, atol=5e-3)
    for name in ("scores", "logfoldchanges"):
        found, expected = (adata.uns["rank_genes_groups"][name]["b"][:50] for adata in (lazy, memory))
        np.testing.assert_allclose(found, expected, rtol=1e-3)


def test_what_was_done_to_the_parts_is_kept(paths: list[Path]) -> None:
    memory, lazy = [ad.read_h5ad(path) for path in paths], [scanpy_oom.read_h5ad(path) for path in paths]
    for adata in (*memory, *lazy):
        lognormalize(adata)
    expected, found = ad.concat(memory, join="outer"), ad.concat(lazy, join="outer")
    assert isinstance(found.X, OOMMatrix)
    np.testing.assert_allclose(values(found.X), values(expected.X), rtol=1e-6)


def test_layers_raw_and_labels_come_along(small: list[Path]) -> None:
    memory, lazy = both(small, join="outer", **OPTIONS)
    assert all(isinstance(matrix, OOMMatrix) for matrix in (lazy.X, lazy.layers["counts"], lazy.raw.X))
    assert_same(lazy, memory)
    view, expected = lazy[::-2, [5, 3, 9]], memory[::-2, [5, 3, 9]]
    assert_same(view, expected)
    assert_same(view.copy(), expected.copy())
    assert_same(lazy.to_memory(), memory, is_lazy=False)


def test_dense_matrices_stay_dense_with_nan_where_genes_lack(tmp_path: Path) -> None:
    whole = ad.AnnData(sparse.csr_matrix(np.random.default_rng(2).poisson(1, (30, 20)).astype(np.float32)))
    memory, lazy = both(write_parts(tmp_path, whole, as_dense=True), join="outer")
    assert lazy.X.is_dense
    assert np.isnan(memory.X).any()
    assert_same(lazy, memory)


def test_the_result_is_written_and_read_again(small: list[Path], tmp_path: Path) -> None:
    memory, lazy = both(small, join="outer", **OPTIONS)
    lazy.write_h5ad(tmp_path / "all.h5ad")
    assert_same(ad.read_h5ad(tmp_path / "all.h5ad"), memory, is_lazy=False)


def test_the_result_of_joining_is_joined_again(small: list[Path]) -> None:
    memory, lazy = both(small[:2], join="outer")
    expected = ad.concat([memory, ad.read_h5ad(small[2])], join="outer", fill_value=3)
    assert_same(ad.concat([lazy, scanpy_oom.read_h5ad(small[2])], join="outer", fill_value=3), expected)


def test_what_is_joined_to_the_rest_one_after_the_other_is_no_nest(small: list[Path]) -> None:
    one = ad.read_h5ad(small[0], backed="oom")
    other = ad.read_h5ad(small[1], backed="oom")[:, one.var_names.intersection(ad.read_h5ad(small[1]).var_names)]
    joined = ad.concat([one, other], join="outer")
    for _ in range(300):
        joined = ad.concat([joined, other], join="outer")
    assert len(joined.X.source.parts) == 302
    assert not any(isinstance(part.matrix.source, JoinedSource) for part in joined.X.source.parts)
    memory = ad.concat([one.to_memory(), *[other.to_memory()] * 301], join="outer")
    np.testing.assert_array_equal(values(joined.X), values(memory.X))


def test_no_file_is_read_before_it_must_be_nor_twice(paths: list[Path]) -> None:
    alone = [scanpy_oom.read_h5ad(path).X for path in paths[:2]]
    lazy = scanpy_oom.read_h5ad(paths[:2])
    assert lazy.X.source.bytes_read == 0
    for matrix in (*alone, lazy.X):
        matrix.sum()
    # chunks on the border of two blocks are read by both if these are far apart
    assert lazy.X.source.bytes_read <= 1.1 * sum(matrix.source.bytes_read for matrix in alone)
    before, passes = lazy.X.source.bytes_read, pass_log.totals().passes
    lazy.X.max()
    assert lazy.X.source.bytes_read == before  # from the compact copy
    assert pass_log.totals().passes == passes + 1


def test_rows_in_another_order_are_read_in_that_of_the_files(small: list[Path]) -> None:
    views = [scanpy_oom.read_h5ad(path)[::-1] for path in small[:2]]
    joined = ad.concat(views)
    assert isinstance(joined.X.source, JoinedSource)
    selected = [part.matrix.selection.rows for part in joined.X.source.parts]
    assert all(rows is None or (np.diff(rows) > 0).all() for rows in selected)
    assert_same(joined, ad.concat([ad.read_h5ad(path)[::-1] for path in small[:2]]))


def test_the_card_and_the_plan_name_the_files(small: list[Path]) -> None:
    lazy = scanpy_oom.read_h5ad(small)
    assert all(f"part{i}.h5ad:/X" in repr(lazy.oom) for i in range(3))
    assert "part2.h5ad:/X" in lazy.oom._repr_html_()
    assert "part0.h5ad:/X" in str(lazy.oom.explain("log1p")) + str(lazy.oom.explain())
    plan = lazy.oom.explain("highly_variable_genes", flavor="cell_ranger")
    assert plan.n_passes >= 1


def test_the_plan_tells_what_will_be_read(paths: list[Path]) -> None:
    scanpy_oom.settings.n_threads = 1
    lazy = scanpy_oom.read_h5ad(paths[:2])
    lazy.X.source.row_offsets()
    plan, read = lazy.oom.explain("calculate_qc_metrics"), lazy.X.source.bytes_read
    sc.pp.calculate_qc_metrics(lazy, inplace=True)
    assert plan.n_bytes == lazy.X.source.bytes_read - read


def test_a_missing_total_is_warned_of_by_the_pass_that_finds_it(tmp_path: Path) -> None:
    counts = sparse.csr_matrix(np.diag([1, 2, 0, 4]).astype(np.float32))
    ad.AnnData(counts).write_h5ad(tmp_path / "a.h5ad")
    lazy = scanpy_oom.read_h5ad(tmp_path / "a.h5ad")
    sc.pp.normalize_total(lazy, target_sum=1)
    joined = ad.concat([lazy, lazy], index_unique="-")
    with pytest.warns(UserWarning, match="zero counts"):
        joined.X.sum()


def total(matrix: OOMMatrix) -> float:
    return float(matrix.sum())


def test_it_pickles_and_serves_other_processes(small: list[Path]) -> None:
    lazy = scanpy_oom.read_h5ad(small)
    lognormalize(lazy)
    expected = total(lazy.X)
    assert total(pickle.loads(pickle.dumps(lazy.X))) == expected
    with get_context("fork").Pool(1) as pool:
        assert pool.apply(total, (lazy.X,)) == expected


def test_a_closed_one_says_so(small: list[Path]) -> None:
    lazy = scanpy_oom.read_h5ad(small)
    lazy.oom.close()
    with pytest.raises(ValueError, match=r"part0\.h5ad has been closed"):
        lazy.X.sum()


def test_results_depend_on_neither_threads_nor_memory(paths: list[Path]) -> None:
    found = []
    for n_threads, limit in ((1, "400MB"), (4, "2GB")):
        scanpy_oom.settings.n_threads, scanpy_oom.settings.memory_limit = n_threads, limit
        lazy = scanpy_oom.read_h5ad(paths[:2], join="outer")
        lognormalize(lazy)
        found.append(np.asarray(lazy.X.sum(axis=0)))
    np.testing.assert_array_equal(*found)


def test_a_mapping_names_the_files(small: list[Path]) -> None:
    lazy = scanpy_oom.read_h5ad({"x": small[0], "y": small[1]}, label="batch")
    assert lazy.obs["batch"].cat.categories.tolist() == ["x", "y"]
    with pytest.raises(TypeError, match="Only specify this once"):
        scanpy_oom.read_h5ad({"x": small[0]}, keys=["z"])


def test_keys_may_be_an_array(small: list[Path]) -> None:
    lazy = scanpy_oom.read_h5ad(iter(small), label="batch", keys=np.array(["a", "b", "c"]))
    assert lazy.obs["batch"].cat.categories.tolist() == ["a", "b", "c"]


def test_a_list_of_one_file_is_joined_too(small: list[Path]) -> None:
    memory, lazy = both(small[:1], label="batch")
    assert_same(lazy, memory)


def test_how_to_join_a_single_file_is_refused(small: list[Path]) -> None:
    with pytest.raises(ValueError, match=r"`label='batch'` is for several files, and .*part0\.h5ad is a single one"):
        scanpy_oom.read_h5ad(small[0], label="batch")
    with pytest.raises(ValueError, match="There is no file to read"):
        scanpy_oom.read_h5ad([])


def test_a_file_that_is_missing_is_named(small: list[Path], tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"no\.h5ad"):
        scanpy_oom.read_h5ad([*small, tmp_path / "no.h5ad"])


def test_genes_of_one_name_are_refused_as_in_memory(tmp_path: Path) -> None:
    for name, genes in (("a", ["x", "x", "y"]), ("b", ["x", "y", "z"])):
        part = ad.AnnData(sparse.csr_matrix(np.eye(3, dtype=np.float32)), var=pd.DataFrame(index=genes))
        part.write_h5ad(tmp_path / f"{name}.h5ad")
    files = [tmp_path / "a.h5ad", tmp_path / "b.h5ad"]
    expected = outcome([ad.read_h5ad(path) for path in files], {})
    assert isinstance(expected, type)
    with pytest.raises(expected):
        scanpy_oom.read_h5ad(files)


def test_side_by_side_is_done_in_memory_which_is_said(small: list[Path]) -> None:
    lazy, memory = scanpy_oom.read_h5ad(small[0]), ad.read_h5ad(small[0])
    before, log = sc.settings.logfile, io.StringIO()
    sc.settings.logfile = log
    try:
        joined = ad.concat([lazy[:, :20].copy(), lazy[:, 20:].copy()], axis=1)
    finally:
        sc.settings.logfile = before
    said = log.getvalue()
    assert re.search(r"anndata\.concat brings part0\.h5ad:.* into memory .*axis=1", said)
    assert_same(joined, ad.concat([memory[:, :20].copy(), memory[:, 20:].copy()], axis=1), is_lazy=False)


def test_side_by_side_beyond_the_limit_is_refused(pbmc3k: Path) -> None:
    lazy = scanpy_oom.read_h5ad(pbmc3k)
    lazy.var_names_make_unique()
    scanpy_oom.settings.memory_limit = "200MB"
    many = {f"{i}": lazy for i in range(9)}
    with pytest.raises(MemoryBudgetExceeded, match=r"anndata\.concat, which needs .*axis=1"):
        ad.concat(many, axis=1)


def test_matrices_in_memory_are_anndatas_own_affair(small: list[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    from scanpy_oom.dispatch.readwrite import concat

    def fail(*args: Any, **kwargs: Any) -> None:
        raise AssertionError

    monkeypatch.setattr(concat, "concat_arrays", fail)
    memory = ad.concat([ad.read_h5ad(path) for path in small])
    assert sparse.issparse(memory.X)


def test_zeros_that_were_dropped_stay_dropped() -> None:
    x = counts(6, 4)
    x.data[::2] = 0
    kept = x.copy()
    kept.eliminate_zeros()
    lazy = oom(x)
    lazy.eliminate_zeros()
    joined = ad.concat([ad.AnnData(lazy), ad.AnnData(lazy)]).X
    assert joined.nnz == 2 * kept.nnz
    assert joined.to_memory().nnz == 2 * kept.nnz


@pytest.mark.parametrize("join", ["inner", "outer"])
@pytest.mark.parametrize("chosen", [slice(None), slice(None, None, -1), slice(0, 3)], ids=["same", "reversed", "fewer"])
def test_zeros_that_are_stored_are_dropped_where_columns_are_put_in_their_places(chosen: slice, join: Any) -> None:
    x = counts(6, 4)
    x.data[::2] = 0
    memory, lazy = ([ad.AnnData(held), ad.AnnData(held)[:, chosen].copy()] for held in (x, oom(x)))
    want, got = (ad.concat(parts, join=join, index_unique="-").X for parts in (memory, lazy))
    assert got.nnz == want.nnz
    assert got.to_memory().nnz == want.nnz
    np.testing.assert_array_equal(got.to_memory().toarray(), want.toarray())


def test_arrays_of_half_precision_are_joined_when_they_were_transposed() -> None:
    x = counts(6, 4).toarray().astype("float16")
    memory, lazy = (ad.concat([ad.AnnData(held).T] * 2) for held in (x, oom(x)))
    np.testing.assert_array_equal(lazy.X.to_memory(), memory.X)
    assert lazy.X.dtype == memory.X.dtype
