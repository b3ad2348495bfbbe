from __future__ import annotations

import h5py
import numpy as np
import pytest
import zarr

from scanpy_oom.storage.header import MatrixSize, matrix_sizes, tenx_sizes

from ..matrices import annotated, counts, dense


@pytest.mark.parametrize("form", ["h5ad", "zarr"])
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_all_matrices_of_a_file_are_found_with_their_sizes(tmp_path, form):
    x = counts(50, 20)
    adata = annotated(x)
    adata.raw = adata
    adata.layers["array"] = dense(x)
    adata.layers["columns"] = x.astype(np.int64).tocsc()
    if form == "zarr":
        adata.write_zarr(tmp_path / "a.zarr")
        root = zarr.open_group(tmp_path / "a.zarr", mode="r")
    else:
        adata.write_h5ad(tmp_path / "a.h5ad")
        root = h5py.File(tmp_path / "a.h5ad")
    found = {size.name: size for size in matrix_sizes(root)}
    single = np.dtype(np.float32)
    assert found == {
        "X": MatrixSize("X", (50, 20), x.nnz, single, is_dense=False),
        "layers/array": MatrixSize("layers/array", (50, 20), 1000, single, is_dense=True),
        "layers/columns": MatrixSize("layers/columns", (50, 20), x.nnz, np.dtype(np.int64), is_dense=False),
        "raw/X": MatrixSize("raw/X", (50, 20), x.nnz, single, is_dense=False),
    }
    assert found["X"].nbytes == x.data.nbytes + x.indices.nbytes
    assert found["layers/array"].nbytes == 4000


def test_a_file_without_matrices_has_none(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["X"] = np.arange(3)
        file.create_group("obs")
        assert list(matrix_sizes(file)) == []
        assert list(tenx_sizes(file)) == []


def test_files_of_cell_ranger_hold_cells_as_columns(data_dir):
    with h5py.File(data_dir / "pbmc_1k_10x_v3.h5") as file:
        (found,) = tenx_sizes(file)
        assert found.n_values == file["matrix/data"].shape[0]
        assert found.shape == (file["matrix/barcodes"].shape[0], file["matrix/features/id"].shape[0])
