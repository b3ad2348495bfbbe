"""What is damaged is refused, by name and place, and an AnnData that reads it stays as it was."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

import anndata as ad
import h5py
import numpy as np
import pandas as pd
import pytest
import scanpy as sc
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import sparse

from scanpy_oom import CorruptFileError, MemoryBudgetExceeded, OOMError, OOMMatrix, to_oom
from scanpy_oom.storage.hdf5.open import open_source
from scanpy_oom.storage.sources.base import CSRBlock

N_OBS, N_VARS = 60, 30
FILTERS: dict[str, dict[str, Any]] = {
    "contiguous": {},
    "chunked": {"chunks": (37,)},
    "gzip": {"chunks": (37,), "compression": "gzip"},
    "shuffle": {"chunks": (37,), "compression": "gzip", "shuffle": True},
    "lzf": {"chunks": (37,), "compression": "lzf"},
    "fletcher32": {"chunks": (37,), "fletcher32": True},
    "all of them": {"chunks": (37,), "compression": "lzf", "shuffle": True, "fletcher32": True},
}


def _write(path: Path, X: Any, **options: Any) -> None:
    obs = pd.DataFrame(index=[f"c{i}" for i in range(N_OBS)])
    var = pd.DataFrame(index=[f"g{i}" for i in range(N_VARS)])
    ad.AnnData(obs=obs, var=var).write_h5ad(path)
    with h5py.File(path, "a") as h5:
        ad.io.write_elem(h5, "X", X, dataset_kwargs=options)


def _put(path: Path, name: str, values: Any, **options: Any) -> None:
    with h5py.File(path, "a") as h5:
        attrs = dict(h5[name].attrs)
        del h5[name]
        h5.create_dataset(name, data=values, **(options if np.ndim(values) else {})).attrs.update(attrs)


@pytest.fixture(params=["csr", "csc"])
def format(request) -> str:
    return request.param


@pytest.fixture
def matrix(counts, format) -> sparse.csr_matrix | sparse.csc_matrix:
    return counts(N_OBS, N_VARS, density=0.2).asformat(format)


@pytest.fixture
def path(tmp_path, matrix):
    path = tmp_path / "bad.h5ad"
    _write(path, matrix, chunks=(37,), compression="gzip")
    return path


def _at(values: np.ndarray, i: int, value: int) -> np.ndarray:
    values = values.astype("i8")
    values[i] = value
    return values


def _minor(matrix: Any) -> int:
    return N_VARS if matrix.format == "csr" else N_OBS


DEFECTS = {
    # what is damaged: the array, its new values, and what is said of it
    "index beyond the end": ("indices", lambda m: _at(m.indices, 50, _minor(m)), "holds {minor} at position 50; "),
    "index far beyond": ("indices", lambda m: _at(m.indices, 50, 2**40), "holds 1099511627776 at position 50; "),
    "negative index": ("indices", lambda m: _at(m.indices, 50, -1), "holds -1 at position 50; "),
    "indptr that decreases": ("indptr", lambda m: _at(m.indptr, 9, 0), r"decreases from {at8} at position 8 to 0; "),
    "negative indptr": ("indptr", lambda m: _at(m.indptr, 9, -5), r"decreases from {at8} at position 8 to -5"),
    "indptr beyond the end": ("indptr", lambda m: _at(m.indptr, 9, 9999), "from 9999 at position 9 to {at10}"),
    "indptr that is too short": ("indptr", lambda m: m.indptr[:-1], "{major} entries where {major1} are expected"),
    "indptr that is too long": ("indptr", lambda m: [*m.indptr, m.nnz], "{major2} entries where {major1} are expected"),
    "indptr that starts late": ("indptr", lambda m: _at(m.indptr, 0, 1), "starts at 1, not at 0"),
    "indptr that ends early": ("indptr", lambda m: _at(m.indptr, -1, m.nnz - 1), "ends at {nnz_1}; .* end at {nnz}"),
    "indptr that ends late": ("indptr", lambda m: _at(m.indptr, -1, m.nnz + 1), "ends at {nnz1}; .* end at {nnz}"),
    "fewer values": ("data", lambda m: m.data[:-1], "has {nnz} indices for {nnz_1} values"),
    "fewer indices": ("indices", lambda m: m.indices[:-1], "has {nnz_1} indices for {nnz} values"),
    "values of two dimensions": ("data", lambda m: m.data[None], r"has float32 values of shape \(1, {nnz}\) as data"),
    "a number for an array": ("indices", lambda m: np.int32(3), r"has int32 values of shape \(\) as indices"),
    "fractional indices": ("indices", lambda m: m.indices.astype("f4"), r"has float32 values of .* as indices"),
    "texts for numbers": ("indptr", lambda m: m.indptr.astype("S"), r"has \|S\d+ values of .* as indptr"),
}  # fmt: skip


@pytest.mark.parametrize("defect", DEFECTS)
@pytest.mark.parametrize("options", [{}, {"chunks": True, "compression": "gzip"}], ids=["contiguous", "gzip"])
def test_defect_is_named_with_its_place_and_what_is_expected(path, matrix, defect, options):
    key, make, message = DEFECTS[defect]
    _put(path, f"X/{key}", make(matrix), **options)
    n, nnz, indptr = len(matrix.indptr) - 1, matrix.nnz, matrix.indptr
    words = {"major": n, "major1": n + 1, "major2": n + 2, "minor": _minor(matrix)}
    words |= {"nnz": nnz, "nnz1": nnz + 1, "nnz_1": nnz - 1, "at8": indptr[8], "at10": indptr[10]}
    expected = rf"bad\.h5ad: /X\S* .*{message.format(**words)}"
    with pytest.raises(CorruptFileError, match=expected) as raised:
        sc.read_h5ad(path, backed="oom").X.sum(axis=0)
    assert str(path) in str(raised.value)
    assert "fetch or write it again" in str(raised.value)


@pytest.mark.parametrize("shape", [(N_OBS + 1, N_VARS), (N_OBS, N_VARS - 1), (N_VARS, N_OBS), (0, 0)])
def test_shape_that_disagrees_with_the_annotations_is_refused(tmp_path, counts, format, shape):
    path = tmp_path / "bad.h5ad"
    for X in (counts(*shape).asformat(format), counts(*shape).toarray()):
        _write(path, X)
        expected = rf"bad\.h5ad: /X has the shape {re.escape(str(shape))}, .* 60 observations and 30 variables"
        with pytest.raises(CorruptFileError, match=expected):
            sc.read_h5ad(path, backed="oom")


@pytest.mark.parametrize("value", [2**53 + 1, 2**63, -(2**53) - 1])
@pytest.mark.parametrize("make", [sparse.csr_matrix, sparse.csc_matrix, np.asarray])
def test_integers_that_would_be_rounded_are_refused(tmp_path, make, value):
    X = np.zeros((N_OBS, N_VARS), dtype="u8" if value > 0 else "i8")
    X[7, 3] = 2**53 - 1
    path = tmp_path / "large.h5ad"
    _write(path, make(X))
    assert sc.read_h5ad(path, backed="oom").to_memory().X[7, 3] == 2**53 - 1
    X[7, 3] = value
    _write(path, make(X))
    place = "7, 3" if make is np.asarray else "0"
    message = (
        rf"large\.h5ad: /X\S* holds {value} at position {place}\. .*exact for integers up to .* without `backed='oom'`"
    )
    with pytest.raises(OOMError, match=message):
        sc.read_h5ad(path, backed="oom").X.sum()
    with pytest.raises(OOMError, match=rf"memory holds {value} at position"):
        to_oom(make(X)).sum()


def test_row_that_is_longer_than_memory_is_refused(tmp_path, memory_limit):
    path = tmp_path / "long.h5ad"
    _write(path, sparse.csr_matrix((N_OBS, N_VARS), dtype="f4"))
    n = 3 * 10**9
    options = {"chunks": (10**6,), "compression": "gzip"}
    with h5py.File(path, "a") as h5:
        for key in ("data", "indices", "indptr"):
            del h5["X"][key]
        # chunks that were never written take no space
        h5["X"].create_dataset("data", (n,), "f4", fillvalue=1, **options)
        h5["X"].create_dataset("indices", (n,), "i4", fillvalue=3, **options)
        h5["X/indptr"] = np.concatenate([[0], np.full(N_OBS - 1, n - 10), [n]])
    memory_limit("1 GB")
    adata = sc.read_h5ad(path, backed="oom")
    with pytest.raises(
        MemoryBudgetExceeded, match=r"long\.h5ad: /X stores 2999999990 values in rows 0 to 0 .* which take 36 GB"
    ):
        adata.X[0]
    with pytest.raises(
        MemoryBudgetExceeded,
        match=r"long\.h5ad:/X, of which one row stores 2,999,999,990 entries, needs at least 144 GB",
    ):
        adata.X.sum()
    assert adata.X[N_OBS - 1].sum() == 10


@given(
    indptr=st.one_of(
        arrays("i8", st.integers(3, 6), elements=st.integers(-2, 8)),
        st.lists(st.integers(0, 6), min_size=3, max_size=3).map(sorted).map(lambda p: np.array([0, *p, 6])),
    ),
    indices=arrays("i8", st.integers(5, 7), elements=st.integers(-1, 4)),
    values=st.integers(5, 7),
    width=st.sampled_from(["i2", "i4", "i8", ">i4"]),
    options=st.sampled_from([{}, {"chunks": (2,), "compression": "gzip"}, {"chunks": (3,), "compression": "lzf"}]),
)
@settings(max_examples=150)
def test_whatever_the_arrays_hold_is_the_matrix_or_is_refused(
    tmp_path_factory, indptr, indices, values, width, options
):
    n_rows, n_cols = 4, 4
    path = tmp_path_factory.getbasetemp() / "any.h5"
    data = np.arange(1.0, values + 1)
    with h5py.File(path, "w") as h5:
        group = h5.create_group("X")
        group.attrs.update({"encoding-type": "csr_matrix", "encoding-version": "0.1.0", "shape": (n_rows, n_cols)})
        for key, array in (("indptr", indptr.astype(width)), ("indices", indices.astype(width)), ("data", data)):
            group.create_dataset(key, data=array, **options)
    is_matrix = (
        len(indptr) == n_rows + 1
        and len(indices) == len(data) == indptr[-1]
        and indptr[0] == 0
        and (np.diff(indptr) >= 0).all()
        and (indices >= 0).all()
        and (indices < n_cols).all()
    )
    if is_matrix:
        block = open_source(path).read_rows(slice(None))
        expected = sparse.csr_matrix((data, indices, indptr), shape=(n_rows, n_cols))
        found = sparse.csr_matrix((block.data, block.indices, block.indptr), shape=(n_rows, n_cols))
        np.testing.assert_array_equal(found.toarray(), expected.toarray())
    else:
        with pytest.raises(CorruptFileError, match=r"any\.h5: /X"):
            open_source(path).read_rows(slice(None))


def _chunk(path: Path, name: str, i: int) -> h5py.h5d.StoreInfo:
    with h5py.File(path) as h5:
        return h5[name].id.get_chunk_info(i)


def _read_all(path: Path) -> sparse.csc_matrix | CSRBlock | None:
    """Read a matrix in the order in which it is stored; None if it is refused, which must be with its name."""
    try:
        source = open_source(path)
        source.row_offsets()
        return source.read_columns(slice(None)) if source.format == "csc" else source.read_rows(slice(None))
    except CorruptFileError as error:
        message = str(error)
    assert re.match(rf"{path}: (/X|the chunk of /X/)", message)
    return None


CHUNKED = {name: options for name, options in FILTERS.items() if options}


@pytest.mark.parametrize("options", CHUNKED.values(), ids=CHUNKED)
@pytest.mark.parametrize("key", ["data", "indices", "indptr"])
def test_flipped_bit_is_noticed_wherever_there_is_a_checksum(tmp_path, matrix, options, key):
    path = tmp_path / "bad.h5ad"
    _write(path, matrix, **options)
    info = _chunk(path, f"X/{key}", 0)
    pristine = path.read_bytes()
    has_checksum = "fletcher32" in options or options.get("compression") == "gzip"
    for byte in np.linspace(info.byte_offset, info.byte_offset + info.size - 1, 12).astype(int).tolist():
        damaged = bytearray(pristine)
        damaged[byte] ^= 0x10
        path.write_bytes(damaged)
        with h5py.File(path) as h5:
            try:
                there = {name: h5["X"][name][:] for name in ("data", "indices", "indptr")}
            except OSError:
                there = None
        here = _read_all(path)
        if here is None:
            continue
        # what has a checksum is read on if the bit means nothing, all else if h5py reads it, too
        assert there is not None
        for name, values in there.items():
            np.testing.assert_array_equal(getattr(here, name), values)
            if has_checksum:
                np.testing.assert_array_equal(values, getattr(matrix, name))


@pytest.mark.parametrize("name", ["gzip", "shuffle", "lzf", "fletcher32", "all of them"])
def test_chunk_that_breaks_off_is_refused(tmp_path, matrix, name):
    path = tmp_path / "bad.h5ad"
    _write(path, matrix, **FILTERS[name])
    with h5py.File(path, "a") as h5:
        data = h5["X/data"].id
        mask, stored = data.read_direct_chunk((37,))
        data.write_direct_chunk((37,), stored[: len(stored) // 2], filter_mask=mask)
    with pytest.raises(
        CorruptFileError, match=r"bad\.h5ad: the chunk of /X/data that starts at 37 is damaged: .*again"
    ):
        sc.read_h5ad(path, backed="oom").X.sum()


def test_chunk_that_would_lie_beyond_the_end_is_refused(tmp_path, matrix):
    path = tmp_path / "bad.h5ad"
    _write(path, matrix, chunks=(37,))
    info = _chunk(path, "X/data", 2)
    content = path.read_bytes()
    address = info.byte_offset.to_bytes(8, "little")
    assert content.count(address) == 1
    path.write_bytes(content.replace(address, (info.byte_offset + 2**32).to_bytes(8, "little")))
    message = (
        r"chunk of /X/data that starts at 74 is damaged: its 148 bytes should start at byte \d+, but the file ends at"
    )
    with pytest.raises(CorruptFileError, match=message):
        sc.read_h5ad(path, backed="oom").X.sum()


@pytest.mark.parametrize("share", [0.2, 0.5, 0.9, 0.999])
def test_file_that_breaks_off_is_refused(path, share):
    os.truncate(path, int(share * path.stat().st_size))
    with pytest.raises(CorruptFileError, match=r"bad\.h5ad cannot be opened: .*truncated.* fetch or write it again"):
        sc.read_h5ad(path, backed="oom")


CALLS = {
    "calculate_qc_metrics": lambda adata: sc.pp.calculate_qc_metrics(adata, inplace=True, percent_top=None),
    "filter_genes": lambda adata: sc.pp.filter_genes(adata, min_cells=1),
    "filter_cells": lambda adata: sc.pp.filter_cells(adata, min_genes=1),
    "normalize_total": lambda adata: sc.pp.normalize_total(adata, key_added="n"),
    "highly_variable_genes": lambda adata: sc.pp.highly_variable_genes(adata, n_top_genes=9, flavor="seurat"),
    "scale": lambda adata: sc.pp.scale(adata),
    "pca": lambda adata: sc.pp.pca(adata, n_comps=4),
    "rank_genes_groups": lambda adata: sc.tl.rank_genes_groups(adata, "kind", method="wilcoxon"),
    "to_memory": lambda adata: adata.to_memory(),
    "subset": lambda adata: adata[:, 3:9].X.toarray(),
}


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
@pytest.mark.parametrize("damage", ["index", "chunk", "rewritten", "cut"])
def test_adata_is_as_it_was_when_a_call_meets_damage(tmp_path, counts, call, damage):
    path = tmp_path / "bad.h5ad"
    _write(path, counts(N_OBS, N_VARS), chunks=(37,), compression="gzip")
    if damage == "index":
        with h5py.File(path, "a") as h5:
            h5["X/indices"][-3] = N_VARS
    elif damage == "chunk":
        info = _chunk(path, "X/indices", 2)
        with path.open("r+b") as raw:
            raw.seek(info.byte_offset + info.size // 2)
            raw.write(b"????")
    adata = sc.read_h5ad(path, backed="oom")
    adata.obs["kind"] = pd.Categorical(["a", "b"] * (N_OBS // 2))
    X, obs, var = adata.X, adata.obs.copy(), adata.var.copy()
    if damage == "rewritten":
        _write(tmp_path / "other.h5ad", counts(N_OBS, N_VARS, seed=1), chunks=(37,), compression="gzip")
        path.write_bytes((tmp_path / "other.h5ad").read_bytes())  # as others do: anndata puts a new file in its place
        os.utime(path, ns=(0, 0))
    elif damage == "cut":
        os.truncate(path, path.stat().st_size // 2)
    message = {
        "index": rf"bad\.h5ad: /X/indices holds {N_VARS} at position \d+; indices there lie between 0 and {N_VARS - 1}",
        "chunk": r"bad\.h5ad: the chunk of /X/indices that starts at 74 is damaged: it (does not inflate|holds more)",
        "rewritten": r"bad\.h5ad has changed since it was opened .*Read it again with read_h5ad",
        "cut": r"bad\.h5ad has changed since it was opened .*Read it again with read_h5ad",
    }[damage]
    with pytest.raises(CorruptFileError, match=message):
        call(adata)
    assert adata.X is X or isinstance(adata.X, OOMMatrix)
    assert adata.shape == (N_OBS, N_VARS)
    pd.testing.assert_frame_equal(adata.obs, obs)
    pd.testing.assert_frame_equal(adata.var, var)
    for slot in (adata.uns, adata.obsm, adata.varm, adata.layers):
        assert not set(slot) - {None}  # anndata 0.13 lists X among the layers
    assert adata.raw is None
