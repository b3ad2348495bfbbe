"""Reading all rows, by how the file is stored."""

from __future__ import annotations

import anndata as ad
import h5py
import hdf5plugin
import numpy as np
import pytest

import scanpy_oom

FILTERS = {
    "none": {},
    "gzip": {"compression": "gzip", "compression_opts": 4},
    "shuffle and gzip": {"compression": "gzip", "compression_opts": 4, "shuffle": True},
    "lzf": {"compression": "lzf"},
    "blosc with zstd": dict(hdf5plugin.Blosc(cname="zstd", clevel=1)),
    "zstd": dict(hdf5plugin.Zstd(clevel=1)),
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("stored")


@pytest.fixture
def scratch_off():
    """No cache: every pass reads the file."""
    before, scanpy_oom.settings.cache = scanpy_oom.settings.cache, "off"
    yield
    scanpy_oom.settings.cache = before


def stored(counts, path, options, kind):
    """Write the counts in one way, unless they are there."""
    if path.exists():
        return path
    x = counts.X
    with h5py.File(path, "w") as file:
        ad.io.write_elem(file, "obs", counts.obs)
        ad.io.write_elem(file, "var", counts.var)
        file.attrs.update({"encoding-type": "anndata", "encoding-version": "0.1.0"})
        if kind == "dense":
            made = file.create_dataset("X", data=x[:, :4000].toarray(), chunks=(500, 1000), **options)
            made.attrs.update({"encoding-type": "array", "encoding-version": "0.2.0"})
            del file["var"]
            ad.io.write_elem(file, "var", counts.var.iloc[:4000])
            return path
        x = x.tocsc() if kind == "csc" else x
        group = file.create_group("X")
        group.attrs.update({"encoding-type": f"{kind}_matrix", "encoding-version": "0.1.0", "shape": np.array(x.shape)})
        group.create_dataset("indptr", data=x.indptr)
        for name in ("indices", "data"):
            group.create_dataset(name, data=getattr(x, name), chunks=(100_000,), **options)
    return path


def read(path):
    return ad.read_h5ad(path, backed="oom").X.sum(axis=0)


@pytest.mark.usefixtures("scratch_off")
@pytest.mark.parametrize("name", FILTERS)
def test_read_csr(name, counts, folder, benchmark):
    path = stored(counts, folder / f"csr {name}.h5ad", FILTERS[name], "csr")
    benchmark.extra_info["bytes"] = path.stat().st_size
    benchmark.pedantic(read, (path,), rounds=3, warmup_rounds=1)


@pytest.mark.usefixtures("scratch_off")
@pytest.mark.parametrize("kind", ["csc", "dense"])
def test_read_other_formats(kind, counts, folder, benchmark):
    path = stored(counts, folder / f"{kind}.h5ad", FILTERS["gzip"], kind)
    benchmark.extra_info["bytes"] = path.stat().st_size
    benchmark.pedantic(read, (path,), rounds=3, warmup_rounds=1)


@pytest.mark.parametrize("name", ["none", "gzip"])
def test_read_in_memory_for_comparison(name, counts, folder, benchmark):
    path = stored(counts, folder / f"csr {name}.h5ad", FILTERS[name], "csr")
    benchmark.pedantic(lambda: ad.read_h5ad(path).X.sum(axis=0), rounds=3, warmup_rounds=1)
