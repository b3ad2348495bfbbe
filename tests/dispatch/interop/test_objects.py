"""Objects of the package anndataoom are read from their files."""

from __future__ import annotations

import gc
import shutil
from weakref import ref

import anndata as ad
import numpy as np
import pandas as pd
import pytest
import scanpy as sc
from scipy import sparse

import scanpy_oom
from scanpy_oom import OOMMatrix
from scanpy_oom.storage.sources.row_reader import RowsSource

from ...comparison import assert_same_anndata
from ...matrices import annotated, counts, dense
from .examples import COLUMNS, N_OBS, N_VARS, ROWS, example, listing, written

anndataoom = pytest.importorskip("anndataoom")


def source_name(matrix: OOMMatrix) -> str:
    return matrix.source.name


# -- what it holds


@pytest.mark.parametrize("dtype", ["float32", "float64", "int64"])
@pytest.mark.parametrize("make", [sparse.csr_matrix, sparse.csr_matrix.toarray], ids=["csr", "dense"])
def test_all_of_it_is_as_the_object_has_it(tmp_path, make, dtype):
    path = written(tmp_path, example(make, dtype))
    data = anndataoom.read(path)
    before = listing(tmp_path)
    got = scanpy_oom.from_anndataoom(data)
    matrices = {"/X": got.X, "/layers/half": got.layers["half"], "/raw/X": got.raw.X}
    assert {name: source_name(matrix) for name, matrix in matrices.items()} == {name: name for name in matrices}
    assert {matrix.source.path for matrix in matrices.values()} == {path}
    assert_same_anndata(got.to_memory(), got)
    assert listing(tmp_path) == before

    want = data.to_adata()
    want.raw = ad.AnnData(data.raw.X[:], var=data.raw.var, obs=want.obs)
    assert isinstance(got.uns["table"], pd.DataFrame)
    want.uns["table"] = got.uns["table"]
    assert_same_anndata(want, got)
    memory = ad.read_h5ad(path)
    for name, matrix in matrices.items():
        stored = {"/X": memory.X, "/layers/half": memory.layers["half"], "/raw/X": memory.raw.X}[name]
        assert type(matrix.to_memory()) is type(stored)
        np.testing.assert_array_equal(dense(matrix), dense(stored))


def test_what_is_changed_in_one_is_not_changed_in_the_other(data):
    got = scanpy_oom.from_anndataoom(data)
    got.obs["new"] = 1
    got.uns["nested"]["a"][0] = 7
    got.layers["new"] = got.X
    assert "new" not in data.obs
    assert data.uns["nested"]["a"][0] == 1
    assert "new" not in data.layers._in_memory


def test_compressed_columns_are_read_from_the_file(tmp_path):
    adata = annotated(counts(N_OBS, N_VARS).tocsc())
    data = anndataoom.read(written(tmp_path, adata))
    matrix = scanpy_oom.from_anndataoom(data).X
    assert source_name(matrix) == "/X"
    np.testing.assert_array_equal(dense(matrix), dense(adata.X))


def test_compressed_columns_that_are_not_known_by_their_shape_are_refused(tmp_path):
    adata = annotated(counts(N_OBS, N_VARS).tocsc())
    adata.layers["other"] = adata.X * 2
    data = anndataoom.read(written(tmp_path, adata))
    with pytest.raises(ValueError, match="holds 2 CSC matrices of the same shape"):
        scanpy_oom.from_anndataoom(data)


def test_a_matrix_is_known_by_its_values_and_not_by_its_place(tmp_path):
    adata = annotated(counts(N_OBS, N_VARS))
    for k, name in enumerate(("b", "c")):
        other = adata.X.tolil()
        other[18 + k, 5] += 1  # a row between those that are looked at first
        adata.layers[name] = other.tocsr()
    data = anndataoom.read(written(tmp_path, adata))
    data.layers["a"], data.X = data.X, data.layers._in_memory["c"]
    got = scanpy_oom.from_anndataoom(data)
    assert source_name(got.X) == "/layers/c"
    assert {name: source_name(got.layers[name]) for name in "abc"} == {"a": "/X", "b": "/layers/b", "c": "/layers/c"}


def test_to_oom_takes_it_too(data):
    assert_same_anndata(scanpy_oom.from_anndataoom(data).to_memory(), scanpy_oom.to_oom(data))


# -- what is done to it


def normalised(data):
    anndataoom.chunked_normalize_total(data, target_sum=100)
    sc_like = lambda adata: sc.pp.normalize_total(adata, target_sum=100)
    return data, sc_like


def logarithms(data):
    anndataoom.chunked_log1p(data)
    return data, sc.pp.log1p


def both(data):
    anndataoom.chunked_normalize_total(data, target_sum=100)
    anndataoom.chunked_log1p(data)

    def in_memory(adata):
        sc.pp.normalize_total(adata, target_sum=100)
        sc.pp.log1p(adata)

    return data, in_memory


def scaled(data):
    data, in_memory = both(data)
    anndataoom.chunked_scale(data, max_value=2)
    data.X = data.layers["scaled"]

    def then_scaled(adata):
        in_memory(adata)
        sc.pp.scale(adata, max_value=2)
        adata.X = np.maximum(adata.X, -2)  # which scanpy does since 1.10

    return data, then_scaled


def counts_alone(data):
    return data, lambda adata: None


STEPS = [counts_alone, normalised, logarithms, both, scaled]


@pytest.mark.parametrize("selection", ["all", "some"])
@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("dtype", ["float32", "float64", "int64"])
@pytest.mark.parametrize("make", [sparse.csr_matrix, sparse.csr_matrix.toarray], ids=["csr", "dense"])
def test_steps_give_the_values_that_they_give_in_memory(tmp_path, make, dtype, step, selection):
    path = written(tmp_path, example(make, dtype))
    data, in_memory = step(anndataoom.read(path))
    memory = ad.read_h5ad(path)
    in_memory(memory)
    whole = data  # whose file is closed when it goes
    if selection == "some":
        data, memory = whole[ROWS, COLUMNS], memory[ROWS, COLUMNS].copy()
    matrix = scanpy_oom.from_anndataoom(data).X
    assert matrix.source.path == path
    np.testing.assert_allclose(dense(matrix), dense(memory.X), rtol=2e-6, atol=2e-7)
    if selection == "all":  # of rows by number, anndataoom divides in double precision, and forgets that it scales
        shown = data.X[0:N_OBS]
        assert (matrix.dtype, matrix.is_dense) == (shown.dtype, not sparse.issparse(shown))
        np.testing.assert_array_equal(dense(matrix), dense(shown))


@pytest.mark.parametrize("step", STEPS[1:4])
def test_steps_on_a_subset_of_a_subset(path, step):
    data, memory = anndataoom.read(path), ad.read_h5ad(path)
    rows, columns = np.arange(50)[::2], np.arange(5, 25)  # of rows in another order it mixes up the totals
    first = data[5:55, 1:]
    second, in_memory = step(first[rows[:20], [*columns]])
    memory = memory[5:55, 1:][rows[:20], columns].copy()
    in_memory(memory)
    matrix = scanpy_oom.from_anndataoom(second).X
    np.testing.assert_allclose(dense(matrix), dense(memory.X), rtol=2e-6)


def test_positions_from_the_end_are_those(data, memory):
    got = scanpy_oom.from_anndataoom(data[[-1, 0], [-2]])
    np.testing.assert_array_equal(dense(got.X), dense(memory.X)[[-1, 0]][:, [-2]])


def test_cells_without_counts_stay_without(data):
    anndataoom.chunked_normalize_total(data)
    matrix = scanpy_oom.from_anndataoom(data).X
    assert not matrix[3].toarray().any()
    np.testing.assert_array_equal(dense(matrix), dense(data.X[0:N_OBS]))


def test_a_step_by_row_on_scaled_data_is_read_through_the_object(data):
    anndataoom.chunked_scale(data)
    factors = np.arange(1.0, N_OBS + 1)
    data.X = anndataoom.TransformedBackedArray(data.layers["scaled"], norm_factors=factors)
    matrix = scanpy_oom.from_anndataoom(data).X
    assert isinstance(matrix.source, RowsSource)
    np.testing.assert_array_equal(dense(matrix), data.X[0:N_OBS])


def test_factors_that_do_not_fit_are_refused(data):
    data.X = anndataoom.TransformedBackedArray(data.X, norm_factors=np.ones(7))
    with pytest.raises(ValueError, match="7 factors do not fit a matrix of 60 rows") as error:
        scanpy_oom.from_anndataoom(data)
    assert error.value.__notes__ == ["This is about X of the AnnDataOOM."]


# -- what is not in the file


@pytest.mark.parametrize("make", [sparse.csr_matrix, sparse.csr_matrix.toarray], ids=["csr", "dense"])
@pytest.mark.parametrize("what", ["gone", "replaced"])
def test_a_file_that_is_gone_is_read_through_the_object(tmp_path, make, what):
    adata = example(make)
    path = written(tmp_path, adata)
    data = anndataoom.read(path)
    path.unlink()
    if what == "replaced":
        (tmp_path / "other").mkdir()
        shutil.move(written(tmp_path / "other", annotated(make(counts(N_OBS, N_VARS, seed=1)))), path)
    got = scanpy_oom.from_anndataoom(data)
    for matrix in (got.X, got.layers["half"], got.raw.X):
        assert isinstance(matrix.source, RowsSource)
    np.testing.assert_array_equal(dense(got.X), dense(adata.X))
    np.testing.assert_array_equal(dense(got.layers["half"]), dense(adata.X) * 0.5)
    np.testing.assert_array_equal(dense(got.raw.X), dense(adata.X))
    sc.pp.calculate_qc_metrics(got, percent_top=None, inplace=True)
    np.testing.assert_array_equal(got.obs["total_counts"], np.asarray(adata.X.sum(axis=1)).ravel())


def test_a_name_that_means_another_file_elsewhere_is_not_taken_for_it(tmp_path, monkeypatch):
    for folder, seed in (("here", 0), ("there", 1)):
        (tmp_path / folder).mkdir()
        written(tmp_path / folder, annotated(counts(N_OBS, N_VARS, seed=seed)))
    monkeypatch.chdir(tmp_path / "here")
    data = anndataoom.read("a.h5ad")
    monkeypatch.chdir(tmp_path / "there")
    np.testing.assert_array_equal(dense(scanpy_oom.from_anndataoom(data).X), dense(counts(N_OBS, N_VARS)))


@pytest.mark.parametrize("make", [sparse.csr_matrix, sparse.csr_matrix.tocsc, sparse.csr_matrix.toarray])
def test_matrices_in_memory_are_taken_as_they_are(data, make):
    x = make(counts(N_OBS, N_VARS, seed=1))
    data.X = x
    data.layers["new"] = x
    got = scanpy_oom.from_anndataoom(data)
    assert got.X.source.location == got.layers["new"].source.location == "memory"
    np.testing.assert_array_equal(dense(got.X), dense(x))
    np.testing.assert_array_equal(dense(got.layers["new"]), dense(x))


def test_large_layers_lie_in_a_file_of_their_own(data, path):
    layer = counts(N_OBS, N_VARS, seed=1).toarray()
    data.layers._write_dense("large", layer)
    got = scanpy_oom.from_anndataoom(data)
    data.layers.close()
    np.testing.assert_array_equal(dense(got.layers["large"]), layer)
    sc.pp.log1p(data, layer="half")
    np.testing.assert_array_equal(dense(scanpy_oom.from_anndataoom(data).layers["large"]), layer)


def test_arrays_of_another_kind_are_read_by_rows(data):
    class Doubled(anndataoom.BackedArray):
        def _read_rows(self, start, end):
            return super()._read_rows(start, end) * 2

    want = dense(data.X[:]) * 2
    data.X = Doubled(data.X._elem)
    matrix = scanpy_oom.from_anndataoom(data).X
    assert isinstance(matrix.source, RowsSource)
    np.testing.assert_array_equal(dense(matrix), want)


# -- what is refused


@pytest.mark.parametrize("other", [None, "text", ad.AnnData(np.ones((2, 2)))])
def test_what_is_no_such_object_is_refused(other):
    with pytest.raises(TypeError, match="AnnDataOOM is expected, not"):
        scanpy_oom.from_anndataoom(other)


@pytest.mark.parametrize("of", [lambda data: data, lambda data: data[5:]])
def test_a_closed_object_is_refused(data, of):
    shown = of(data)
    data.close()
    with pytest.raises(ValueError, match=r"was closed, .* Read it again"):
        scanpy_oom.from_anndataoom(shown)


def test_an_object_that_may_write_is_refused(path):
    data = anndataoom.read(path, backed="r+")
    with pytest.raises(ValueError, match=r"a\.h5ad is open for writing"):
        scanpy_oom.from_anndataoom(data)


def test_raw_that_was_left_behind_is_refused(data):
    data.raw = ad.AnnData(np.ones((20, 3), dtype="float32"))
    with pytest.raises(ValueError, match="raw of the AnnDataOOM has 20 rows and the object 60"):
        scanpy_oom.from_anndataoom(data)
    data.raw = None
    assert scanpy_oom.from_anndataoom(data).raw is None


@pytest.mark.parametrize("name", ["obsm", "varm", "obsp", "varp"])
def test_what_an_anndata_cannot_hold_is_refused(data, name):
    getattr(data, name)["odd"] = ["a", "list"]
    with pytest.raises(TypeError, match=rf"{name}\['odd'\] of the AnnDataOOM is a list"):
        scanpy_oom.from_anndataoom(data)


def test_x_that_is_no_matrix_of_numbers_is_refused(data):
    data.X = np.full((N_OBS, N_VARS), "a")
    with pytest.raises(TypeError, match="matrix of numbers is expected") as error:
        scanpy_oom.from_anndataoom(data)
    assert error.value.__notes__ == ["This is about X of the AnnDataOOM."]


# -- what is shared


def test_the_same_array_gives_the_same_matrix(data):
    first, second = scanpy_oom.from_anndataoom(data), scanpy_oom.from_anndataoom(data)
    assert first.X is second.X
    anndataoom.chunked_log1p(data)
    assert scanpy_oom.from_anndataoom(data).X.source is first.X.source


def test_a_matrix_that_was_closed_is_opened_again(data, memory):
    scanpy_oom.from_anndataoom(data).oom.close()
    np.testing.assert_array_equal(dense(scanpy_oom.from_anndataoom(data).X), dense(memory.X))


@pytest.mark.parametrize("through_the_object", [False, True])
def test_what_is_remembered_goes_with_the_object(path, through_the_object):
    data = anndataoom.read(path)
    if through_the_object:
        path.unlink()
    matrix = ref(scanpy_oom.from_anndataoom(data).X)
    gc.collect()
    assert matrix() is not None
    del data
    gc.collect()
    assert matrix() is None
