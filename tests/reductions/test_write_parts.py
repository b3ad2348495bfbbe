from __future__ import annotations

import pickle
import shutil
from contextlib import closing
from pathlib import Path

import h5py
import numpy as np
import pytest
import scanpy as sc
import zarr
from hypothesis import given
from hypothesis import strategies as st
from scipy import sparse

from scanpy_oom.engine.compute import compute
from scanpy_oom.engine.executor import LocalExecutor
from scanpy_oom.engine.request import Request, Step
from scanpy_oom.errors import OOMError
from scanpy_oom.matrix import OOMMatrix
from scanpy_oom.matrix.transforms.elementwise import Elementwise
from scanpy_oom.reductions import write_parts
from scanpy_oom.reductions.write import Write, written_dense
from scanpy_oom.reductions.write_parts import StoredLengths, part_size

from ..matrices import annotated, counts, oom


def in_parts(matrix: OOMMatrix, parent, kwargs) -> list[tuple[int, int]]:
    """Write a matrix in parts, each made by a reduction of its own, as in processes of their own; return their rows."""
    with closing(Write(parent, "X", kwargs)) as write:
        parts = write.in_parts(matrix)
        assert parts is not None
        for task in reversed(parts.tasks):
            away = pickle.loads(pickle.dumps(parts))
            away.tasks = [task]
            away.merge = lambda total, partial: [*total, *partial]
            away.result = lambda total: total
            ((found,),) = LocalExecutor().run(Step([Request(matrix, [away])], cache=False))
            parts.merge(found, [])
        parts.result([])
        return parts.tasks


def content(group) -> dict[str, np.ndarray]:
    x = group["X"]
    arrays = {key: x[key] for key in ("data", "indices", "indptr")} if hasattr(x, "keys") else {"": x}
    return {key: (value[...], value.chunks, dict(value.attrs)) for key, value in arrays.items()}


def assert_same_content(found, want) -> None:
    for key, (values, chunks, attributes) in content(want).items():
        got, got_chunks, got_attributes = content(found)[key]
        assert got.dtype == values.dtype
        np.testing.assert_array_equal(got, values)
        assert (got_chunks, got_attributes) == (chunks, attributes)


def opened(kind: str, path: Path):
    return h5py.File(path.with_suffix(".h5"), "w") if kind == "h5" else zarr.open_group(path, mode="w")


KINDS = {
    "plain": ("h5", {"chunks": (7,)}),
    "gzip": ("h5", {"chunks": (7,), "compression": "gzip"}),
    "shuffled": ("h5", {"chunks": (7,), "compression": "gzip", "shuffle": True}),
    "of HDF5": ("h5", {"chunks": (7,), "compression": "lzf"}),
    "zarr": ("zarr", {"chunks": (7,)}),
    "shards": ("zarr", {"chunks": (7,), "shards": (21,)}),
}


@pytest.fixture(autouse=True)
def _small_parts(monkeypatch):
    monkeypatch.setattr(write_parts, "PART", 40 * 8)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("change", ["none", "columns", "zeros"])
def test_a_matrix_in_parts_is_what_it_is_in_one_piece(tmp_path, kind, change):
    matrix = oom(counts(60, 30))
    if change == "columns":
        matrix = matrix.select(None, np.arange(29, 0, -3))
    if change == "zeros":
        matrix = matrix.transform(Elementwise("greater", 3))
    form, kwargs = KINDS[kind]
    whole, parts = opened(form, tmp_path / "whole"), opened(form, tmp_path / "parts")
    with closing(Write(whole, "X", kwargs)) as write:
        compute(matrix, write)
    assert len(in_parts(matrix, parts, kwargs)) > 2
    assert_same_content(parts, whole)


@pytest.mark.parametrize("kwargs", [{}, {"compression": "gzip"}, {"compression": "lzf", "chunks": (4, 3)}])
@pytest.mark.parametrize("form", ["h5", "zarr"])
def test_a_dense_matrix_in_parts_is_what_it_is_in_one_piece(tmp_path, form, kwargs):
    if form == "zarr":
        kwargs = {key: value for key, value in kwargs.items() if key == "chunks"}
    matrix = oom(counts(61, 30)).transform(Elementwise("log1p"))
    whole, parts = opened(form, tmp_path / "whole"), opened(form, tmp_path / "parts")
    with written_dense({"X"}):
        with closing(Write(whole, "X", kwargs)) as write:
            compute(matrix, write)
        in_parts(matrix, parts, kwargs)
    assert_same_content(parts, whole)


@given(lengths=st.lists(st.integers(0, 30), min_size=1, max_size=40).filter(any), step=st.integers(1, 50))
def test_parts_begin_at_chunks_and_each_row_is_in_those_that_hold_its_entries(lengths, step):
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    size = part_size([step], np.array(lengths), 8)
    parts = write_parts.WriteParts(None, [], offsets, size, width=0)
    assert size % step == 0
    starts = range(0, int(offsets[-1]), size)
    assert len(parts.tasks) == len(starts)
    for start, (first, stop) in zip(starts, parts.tasks, strict=True):
        end = min(start + size, offsets[-1])
        assert offsets[first] <= start
        assert end <= offsets[stop]
    rows = [first for first, _ in parts.tasks]
    assert rows == sorted(set(rows))
    read = [row for first, stop in parts.tasks for row in range(first, stop)]
    assert set(read) == set(range(len(lengths))), "rows without entries have totals, too"
    assert len(read) < len(lengths) + len(parts.tasks), "tasks share no row but one"


def test_chunks_that_are_too_large_are_not_made_in_parts(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file, closing(Write(file, "X", {"chunks": (2**22,)})) as write:
        assert write.in_parts(oom(counts(60, 30))) is None
        compute(oom(counts(60, 30)), write)
        np.testing.assert_array_equal(file["X/data"], counts(60, 30).data)


def test_a_matrix_without_values_is_not_written_in_parts(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        assert Write(file, "X", {}).in_parts(oom(sparse.csr_matrix((60, 30), dtype=np.float32))) is None


@pytest.mark.parametrize("some", [slice(None), slice(1, None, 2)])
def test_entries_that_are_stored_more_than_once_are_written_as_they_are_read(tmp_path, some):
    x = counts(60, 30)
    indices = x.indices.copy()
    indices[1::5] = indices[:-1:5][: indices[1::5].size]
    repeated = sparse.csr_matrix((x.data, np.sort(indices), x.indptr), shape=x.shape)
    annotated(repeated).write_h5ad(tmp_path / "a.h5ad")
    matrix = sc.read_h5ad(tmp_path / "a.h5ad", backed="oom")[some].X
    with h5py.File(tmp_path / "whole.h5", "w") as whole, h5py.File(tmp_path / "parts.h5", "w") as parts:
        with closing(Write(whole, "X", {"chunks": (7,)})) as write:
            compute(matrix, write)
        in_parts(matrix, parts, {"chunks": (7,)})
        assert whole["X/data"].shape[0] < repeated[some].nnz
        assert_same_content(parts, whole)


def test_rows_that_store_other_entries_than_were_counted_are_an_error(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file, closing(Write(file, "X", {"chunks": (7,)})) as write:
        parts = write.in_parts(oom(counts(60, 30)))
        with pytest.raises(OOMError, match="store other entries than when these were counted"):
            compute(oom(counts(60, 30, seed=1)), parts)


def test_rows_in_another_order_are_not_written_in_parts(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        assert Write(file, "X", {}).in_parts(oom(counts(60, 30)).select(np.arange(60)[::-1])) is None
        assert list(file) == []


def test_lengths_are_those_of_what_is_written():
    x = counts(60, 30)
    assert compute(oom(x), StoredLengths()).tolist() == np.diff(x.indptr).tolist()
    above = compute(oom(x).transform(Elementwise("greater", 3)), StoredLengths())
    assert above.tolist() == sparse.csr_matrix(x > 3).getnnz(axis=1).tolist()


def test_a_store_that_is_not_seen_is_an_error_with_a_way_out(tmp_path):
    group = zarr.open_group(tmp_path / "there.zarr", mode="w")
    with closing(Write(group, "X", {"chunks": (7,)})) as write:
        parts = write.in_parts(oom(counts(60, 30)))
        (tmp_path / "there.zarr").rename(tmp_path / "elsewhere.zarr")
        with pytest.raises(OOMError, match=r"cannot find the Zarr store .*there.zarr.*engine = 'threads'"):
            compute(oom(counts(60, 30)), parts)


def test_what_is_written_to_a_store_that_was_taken_away_meanwhile_is_taken_away_too(tmp_path, monkeypatch):
    group = zarr.open_group(tmp_path / "there.zarr", mode="w")
    with closing(Write(group, "X", {"chunks": (7,)})) as write:
        values, _ = write.in_parts(oom(counts(60, 30)))._encoders
    opened_array = zarr.open_array

    def gone_meanwhile(*args, **kwargs):
        array = opened_array(*args, **kwargs)
        shutil.rmtree(tmp_path / "there.zarr")
        return array

    monkeypatch.setattr(zarr, "open_array", gone_meanwhile)
    values.encode(0, np.ones(7, dtype=np.float32))
    assert list(tmp_path.iterdir()) == []


def test_parts_need_little_memory(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file, closing(Write(file, "X", {"chunks": (7,)})) as write:
        parts = write.in_parts(oom(counts(60, 30)))
        parts.prepare(oom(counts(60, 30)))
        assert parts.partial_nbytes() == 0
        assert parts.workspace_nbytes() == 3 * parts._size * 8
