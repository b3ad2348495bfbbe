"""Files of Cell Ranger give what they give in memory, with the counts left on disk."""

from __future__ import annotations

import pickle
import shutil

import h5py
import numpy as np
import pytest
import scanpy as sc

from scanpy_oom import CorruptFileError, OOMMatrix

from ...comparison import assert_same_anndata
from ...matrices import counts


@pytest.fixture
def v3(data_dir, tmp_path):
    path = tmp_path / "v3.h5"
    shutil.copy(data_dir / "pbmc_1k_10x_v3.h5", path)
    return path


def write_legacy(path, dtype="int32", genomes=("hg19", "mm10"), n_cells=20):
    """As Cell Ranger 2 wrote it."""
    with h5py.File(path, "w") as file:
        for k, genome in enumerate(genomes):
            x = counts(20, 8 + k, seed=k, dtype=dtype)[:n_cells]
            group = file.create_group(genome)
            group["data"], group["indptr"] = x.data, x.indptr.astype(np.int64)
            group["indices"], group["shape"] = x.indices.astype(np.int64), np.array(x.shape[::-1], dtype=np.int32)
            group["barcodes"] = np.array([f"cell{i}-1" for i in range(n_cells)], dtype="S")
            group["genes"] = np.array([f"{genome}_{j}" for j in range(x.shape[1])], dtype="S")
            group["gene_names"] = np.array([f"gene{j}" for j in range(x.shape[1])], dtype="S")
    return path


def outcome(path, **arguments):
    try:
        return sc.read_10x_h5(path, **arguments)
    except Exception as error:  # noqa: BLE001 - it is compared
        return error


def assert_same(path, **arguments):
    want, got = outcome(path, **arguments), outcome(path, backed="oom", **arguments)
    if isinstance(want, Exception):
        assert type(got) is type(want)
        assert str(got) == str(want)
        return
    assert isinstance(got.X, OOMMatrix)
    assert got.X.dtype == want.X.dtype
    assert_same_anndata(want, got)
    assert type(got.to_memory().X) is type(want.X)


@pytest.mark.parametrize(
    "arguments", [{}, {"gex_only": False}, {"genome": "GRCh38"}, {"genome": "GRCh38", "gex_only": False}], ids=str
)
def test_version_3_is_read_as_in_memory(v3, arguments):
    assert_same(v3, **arguments)


def test_a_genome_that_is_not_there_is_refused_as_in_memory(v3):
    assert_same(v3, genome="mm10")


@pytest.mark.parametrize("dtype", ["int32", "int64", "uint16", "float32"])
@pytest.mark.parametrize("genome", ["hg19", "mm10", None, "absent"])
def test_version_2_is_read_as_in_memory(tmp_path, dtype, genome):
    assert_same(write_legacy(tmp_path / "v2.h5", dtype), genome=genome)


def test_the_only_genome_of_version_2_need_not_be_named(tmp_path):
    assert_same(write_legacy(tmp_path / "v2.h5", genomes=["hg19"]))


def test_a_file_without_cells_is_read_as_in_memory(tmp_path):
    assert_same(write_legacy(tmp_path / "v2.h5", genomes=["hg19"], n_cells=0))


def test_counts_too_large_for_single_precision_are_rounded_as_in_memory(tmp_path):
    path = write_legacy(tmp_path / "v2.h5", genomes=["hg19"])
    with h5py.File(path, "r+") as file:
        file["hg19/data"][:5] = 2**24 + 1 + np.arange(5)
    assert_same(path)


def test_a_file_of_another_kind_is_refused_as_in_memory(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["matrix/data"] = [1]
    assert_same(tmp_path / "a.h5")


def test_a_missing_file_is_refused(tmp_path):
    assert type(outcome(tmp_path / "no.h5")) is type(outcome(tmp_path / "no.h5", backed="oom"))


def test_reading_changes_neither_the_file_nor_its_folder(v3):
    before = v3.read_bytes()
    sc.read_10x_h5(v3, backed="oom").X.sum()
    assert v3.read_bytes() == before
    assert list(v3.parent.iterdir()) == [v3]


def test_other_values_of_backed_are_refused(v3):
    with pytest.raises(ValueError, match="backed='r'"):
        sc.read_10x_h5(v3, backed="r")


def test_it_is_pickled_as_a_path(v3):
    adata = sc.read_10x_h5(v3, backed="oom")
    assert len(pickle.dumps(adata.X)) < 600_000
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(adata.X)).sum(axis=0), adata.X.sum(axis=0))


@pytest.mark.parametrize("name", ["barcodes", "features/id"])
def test_names_that_do_not_fit_the_matrix_are_refused(v3, tmp_path, name):
    path = tmp_path / "bad.h5"
    shutil.copy(v3, path)
    with h5py.File(path, "a") as h5:
        names = h5[f"matrix/{name}"][:-1]
        del h5[f"matrix/{name}"]
        h5[f"matrix/{name}"] = names
    with pytest.raises(CorruptFileError, match=rf"bad\.h5: /matrix/{name} has the shape \({names.size},\)"):
        sc.read_10x_h5(path, backed="oom")


@pytest.mark.parametrize("shape", [[30], [30, -1], [30.0, 20.0]])
def test_an_impossible_shape_is_refused(v3, tmp_path, shape):
    path = tmp_path / "bad.h5"
    path.write_bytes(v3.read_bytes())
    with h5py.File(path, "a") as h5:
        del h5["matrix/shape"]
        h5["matrix/shape"] = shape
    with pytest.raises(CorruptFileError, match=r"bad\.h5: /matrix/shape is .* numbers of genes and of cells"):
        sc.read_10x_h5(path, backed="oom")


def test_an_impossible_gene_is_refused(tmp_path):
    path = write_legacy(tmp_path / "v2.h5", genomes=["hg19"])
    with h5py.File(path, "r+") as file:
        file["hg19/indices"][3] = 99
    with pytest.raises(CorruptFileError, match=r"v2\.h5"):
        sc.read_10x_h5(path, backed="oom").X.sum()


def test_the_workflow_gives_what_it_gives_in_memory(v3):
    results = []
    for backed in (None, "oom"):
        adata = sc.read_10x_h5(v3, backed=backed)
        adata.var_names_make_unique()
        sc.pp.filter_genes(adata, min_cells=3)
        sc.pp.normalize_total(adata, target_sum=1e4)
        sc.pp.log1p(adata)
        sc.pp.highly_variable_genes(adata, n_top_genes=500)
        results.append(adata)
    assert isinstance(results[1].X, OOMMatrix)
    assert_same_anndata(*results)
