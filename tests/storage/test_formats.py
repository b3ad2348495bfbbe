"""Files that others wrote, in the layouts that users have."""

from __future__ import annotations

import warnings

import anndata as ad
import pytest

from scanpy_oom.storage.hdf5.read import read_h5ad

FILES = [
    "formats/anndata_v0.7.0.h5ad",
    "formats/anndata_v0.7.8.h5ad",
    "formats/bpcells_anndata-v0.10.9_u16.h5ad",
    "formats/galaxy_pbmc3k_100cells_v0.6_csr_gzip.h5ad",
    "formats/krumsiek_nullable_v0.8.h5ad",
    "formats/scvi_pbmc_5k_protein_dense_lzf.h5ad",
    "formats/seuratdisk_pbmc-small.h5ad",
    "formats/soma_pbmc-small_x-csc.h5ad",
    "formats/soma_pbmc-small_x-csr.h5ad",
    "formats/soma_pbmc-small_x-dense.h5ad",
    "formats/soma_x-empty_csr_nnz0.h5ad",
    "formats/soma_x-none.h5ad",
    "pbmc3k_counts.h5ad",
    "pbmc_facs_counts.h5ad",
]


@pytest.mark.parametrize("name", FILES)
@pytest.mark.filterwarnings("ignore")
def test_file_is_as_anndata_reads_it(data_dir, load, name, assert_same):
    path = data_dir / name
    assert_same(read_h5ad(path, load), ad.read_h5ad(path))


@pytest.mark.parametrize("name", FILES)
def test_warnings_are_those_of_anndata(data_dir, load, name):
    path = data_dir / name
    said = []
    for read in (ad.read_h5ad, lambda path: read_h5ad(path, load)):
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            read(path)
        said.append({str(warning.message) for warning in caught})
    # What is said of a matrix that is not read is not said.
    assert said[1] - said[0] == set()
    assert all(message.startswith(("Element '/X'", "Element '/layers")) for message in said[0] - said[1])


def test_file_that_anndata_refuses_is_refused_with_its_words(data_dir, load):
    path = data_dir / "formats/duckdb_csc_wrong_tag.h5ad"
    with pytest.raises(Exception, match="encoding_type='csc'") as expected:
        ad.read_h5ad(path)
    with pytest.raises(type(expected.value), match="encoding_type='csc'"):
        read_h5ad(path, load)


def test_blocks_of_a_real_file_are_its_rows(data_dir, to_scipy):
    from scanpy_oom.storage.hdf5.open import open_source

    path = data_dir / "pbmc3k_counts.h5ad"
    source, matrix = open_source(path), ad.read_h5ad(path).X
    for start in range(0, 2700, 333):
        assert (to_scipy(source, slice(start, start + 333)) != matrix[start : start + 333]).nnz == 0
    assert source.bytes_read == source.nbytes
