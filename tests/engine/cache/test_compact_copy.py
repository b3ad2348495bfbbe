"""Passes after the first read a compact copy of what it read."""

from __future__ import annotations

import gc
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import scanpy as sc
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from scipy import sparse

from scanpy_oom.engine.cache import policy
from scanpy_oom.engine.compute import run
from scanpy_oom.engine.request import Request
from scanpy_oom.engine.runtime import pass_log
from scanpy_oom.errors import CorruptFileError
from scanpy_oom.matrix.transforms import Elementwise
from scanpy_oom.memory.ledger import ACCOUNTANT
from scanpy_oom.queries.answers import ENGINE
from scanpy_oom.reductions import AxisStatistics, GroupMoments
from scanpy_oom.settings import settings

from ...matrices import annotated, counts, dense


def opened(path):
    return sc.read_h5ad(path, backed="oom")


def sums(matrix):
    return run([Request(matrix, [AxisStatistics()])])[0][0].known


def scratch_files() -> int:
    """Number of scratch files that are open."""
    gc.collect()
    return sum(link.startswith(f"{settings.scratch_dir}/") for link in map(_target, Path("/proc/self/fd").iterdir()))


def _target(link: Path) -> str:
    return str(link.readlink()) if link.is_symlink() else ""


def test_the_file_is_read_once(path):
    x = opened(path).X
    first = sums(x)
    read = x.source.bytes_read
    assert read >= 0.9 * x.source.nbytes
    for matrix in (x, x.transform(Elementwise("log1p")), x.select(np.arange(5, 900)), x.select(None, np.arange(9))):
        sums(matrix)
    assert x.source.bytes_read == read
    for name, values in sums(x).items():
        np.testing.assert_array_equal(values, first[name], err_msg=name)


def test_a_small_part_that_is_read_again_gets_a_stage_of_its_own(path):
    x = opened(path).X
    sums(x)
    some = x.select(None, np.array([40, 3, 77, 9]))  # not in the order of the source
    want = run([Request(some, [AxisStatistics()])], reuse=True)[0][0].known
    whole, narrow = [copy.columns for copy in x.copies], [copy.columns for copy in some.copies]
    assert whole == [None]
    assert [columns.tolist() for columns in narrow] == [[3, 9, 40, 77]]
    for name, values in sums(some).items():
        np.testing.assert_array_equal(values, want[name], err_msg=name)
    np.testing.assert_array_equal(dense(some), dense(x)[:, [40, 3, 77, 9]])
    np.testing.assert_array_equal(dense(some.select(None, np.array([2, 1]))), dense(x)[:, [77, 3]])


@hypothesis_settings(max_examples=60)
@given(data=st.data(), seed=st.integers(0, 2**32 - 1))
def test_any_values_and_any_selection_come_back_as_they_are(tmp_path_factory, data, seed):
    rng = np.random.default_rng(seed)
    n_rows, n_columns = data.draw(st.integers(1, 40)), data.draw(st.integers(1, 20))
    x = sparse.random(n_rows, n_columns, data.draw(st.sampled_from([0.0, 0.3, 1.0])), format="csr", rng=rng)
    kinds = {
        "counts": lambda n: rng.integers(0, 9, n),
        "large": lambda n: rng.integers(0, 2**31, n),
        "negative": lambda n: rng.integers(-9, 9, n),
        "fractions": lambda n: rng.standard_normal(n),
        "odd": lambda n: rng.choice([np.nan, np.inf, -np.inf, 0, 1e-30, 3], n),
    }
    values = kinds[data.draw(st.sampled_from(sorted(kinds)))](x.nnz)
    x.data = values.astype(data.draw(st.sampled_from(["f4", "f8"])))
    file = tmp_path_factory.mktemp("stage") / "x.h5ad"
    annotated(x).write_h5ad(file, compression="gzip")
    matrix = opened(file).X
    sums(matrix)
    read = matrix.source.bytes_read
    assert [copy.columns for copy in matrix.copies] == [None]
    rows = data.draw(st.none() | st.lists(st.integers(0, n_rows - 1), max_size=12))
    columns = data.draw(st.none() | st.lists(st.integers(0, n_columns - 1), max_size=8))
    take = lambda positions: None if positions is None else np.array(positions, dtype=np.intp)
    everything = slice(None)
    want = x.toarray()[everything if rows is None else take(rows)][:, everything if columns is None else take(columns)]
    np.testing.assert_array_equal(dense(matrix.select(take(rows), take(columns))), want)
    assert matrix.source.bytes_read == read


def test_columns_far_apart_and_rows_longer_than_a_piece_come_back(tmp_path):
    rng = np.random.default_rng(0)
    x = sparse.random(5, 300_000, 1e-4, format="lil", rng=rng)
    x[2, :] = 1.0
    x[4, 299_999] = 7.0
    annotated(sparse.csr_matrix(x)).write_h5ad(tmp_path / "wide.h5ad", compression="gzip")
    matrix = opened(tmp_path / "wide.h5ad").X
    sums(matrix)
    read = matrix.source.bytes_read
    assert (matrix.to_memory() != sparse.csr_matrix(x)).nnz == 0
    assert matrix.source.bytes_read == read


def test_entries_that_are_unsorted_or_repeated_are_staged_in_order_and_summed(tmp_path):
    x = sparse.csr_matrix((np.array([1.0, 2, 4, 0, 3]), np.array([4, 1, 4, 0, 2]), np.array([0, 3, 5])), shape=(2, 5))
    annotated(sparse.csr_matrix((2, 5))).write_h5ad(tmp_path / "x.h5ad", compression="gzip")
    import h5py

    with h5py.File(tmp_path / "x.h5ad", "a") as file:
        for key in ("data", "indices", "indptr"):
            del file["X"][key]
            file["X"].create_dataset(key, data=getattr(x, key), compression="gzip", chunks=(2,))
    matrix = opened(tmp_path / "x.h5ad").X
    sums(matrix)
    assert [copy.columns for copy in matrix.copies] == [None]
    np.testing.assert_array_equal(dense(matrix), x.toarray())


def test_it_lies_in_memory_while_it_is_small_and_in_scratch_from_then_on(path, monkeypatch, tmp_path):
    monkeypatch.setattr(settings, "_scratch_dir", tmp_path)
    gc.collect()
    before = ACCOUNTANT.held.get("copies", 0)
    x = opened(path).X
    sums(x)
    (copy,) = x.copies
    assert copy.in_memory
    assert ACCOUNTANT.held["copies"] - before == copy.nbytes
    monkeypatch.setattr(policy, "IN_MEMORY", copy.nbytes // 2)
    y = opened(path).X
    sums(y)
    (spilled,) = y.copies
    assert not spilled.in_memory
    assert spilled.nbytes == copy.nbytes
    assert ACCOUNTANT.held["copies"] - before == copy.nbytes
    np.testing.assert_array_equal(dense(y), dense(x))
    assert [file.name for file in tmp_path.iterdir()] == ["a.h5ad"]  # what is in scratch has no name


@pytest.fixture
def scratch(tmp_path, monkeypatch):
    folder = tmp_path / "scratch"
    folder.mkdir()
    monkeypatch.setattr(settings, "_scratch_dir", folder)
    monkeypatch.setattr(policy, "IN_MEMORY", 0)


@pytest.mark.usefixtures("scratch")
def test_it_is_given_back_when_no_matrix_needs_it(path):
    adata = opened(path)
    adata.X.sum()
    some = adata[:, [1, 5]].copy()
    run([Request(some.X, [AxisStatistics()])], reuse=True)
    assert scratch_files() == 2
    del adata
    assert scratch_files() == 1
    del some
    assert scratch_files() == 0


def test_it_is_not_read_once_the_file_is_closed(path):
    adata = opened(path)
    adata.X.sum()
    adata.oom.close()
    with pytest.raises(ValueError, match="closed"):
        adata.X[:3]


def test_without_a_stage_every_pass_reads_the_file_and_results_are_the_same(path, monkeypatch):
    staged = opened(path).X
    want = [sums(staged), sums(staged)][1]
    monkeypatch.setattr(settings, "_cache", "off")
    x = opened(path).X
    read = []
    for _ in range(2):
        found = sums(x)
        read.append(x.source.bytes_read)
    assert read[1] - read[0] > 0.5 * x.source.nbytes  # offsets of rows are kept
    assert list(x.copies) == []
    for name, values in found.items():
        np.testing.assert_array_equal(values, want[name], err_msg=name)


@pytest.mark.parametrize("kind", ["memory", "uncompressed", "one look"])
def test_what_is_fast_to_read_or_looked_at_once_is_not_staged(kind, tmp_path):
    adata = annotated(counts(300, 20))
    adata.write_h5ad(tmp_path / "a.h5ad", compression="gzip" if kind == "one look" else None)
    adata = opened(tmp_path / "a.h5ad")
    if kind == "memory":
        from ...matrices import oom

        adata.X = oom(counts(300, 20))
    if kind == "one look":
        adata.X[:7]
        adata.to_memory()
    else:
        sums(adata.X)
    assert list(adata.X.copies) == []


def test_rows_of_a_subset_are_staged_for_the_subset(path):
    adata = opened(path)
    rows = np.flatnonzero(np.arange(3000) % 3)
    some = adata.X.select(rows)
    sums(some)
    read = adata.X.source.bytes_read
    sums(some.select(np.arange(0, 2000, 7), np.arange(40)))
    assert adata.X.source.bytes_read == read
    np.testing.assert_array_equal(dense(some), dense(adata.X)[rows])


def test_counts_of_columns_after_rows_are_removed_follow_from_these_rows_alone(path, monkeypatch):
    monkeypatch.setattr(settings, "_cache", "off")
    x = opened(path).X
    ENGINE.statistics(x, "col_npos")
    rows = np.setdiff1d(np.arange(3000), [5, 6, 2000])
    columns = np.arange(3, 60)
    some = x.select(rows).select(np.arange(rows.size - 1)).select(None, columns)
    found = ENGINE.statistics(some, "col_npos").known["col_npos"]
    np.testing.assert_array_equal(found, (dense(some) > 0).sum(axis=0))
    assert pass_log.recent()[-2].n_rows == 4  # the last pass is that of `dense`


def test_repeated_rows_are_not_taken_for_what_remains(path):
    x = opened(path).X
    ENGINE.statistics(x)
    rows = np.concatenate([np.arange(2990), [0, 0, 1]])
    found = ENGINE.statistics(x.select(rows), "col_nnz").known["col_nnz"]
    np.testing.assert_array_equal(found, (dense(x)[rows] != 0).sum(axis=0))


def no_room(how: str, tmp_path) -> None:
    if how == "missing":
        settings.scratch_dir = tmp_path / "no such folder"
    elif how == "not writable":
        settings.scratch_dir = "/proc"


@pytest.mark.parametrize("how", ["missing", "not writable"])
def test_without_a_scratch_folder_the_pass_goes_on_and_says_so(path, how, tmp_path, monkeypatch):
    import io

    monkeypatch.setattr(policy, "IN_MEMORY", 0)
    log, logfile = io.StringIO(), sc.settings.logfile
    want = sums(opened(path).X)
    sc.settings.logfile = log
    try:
        no_room(how, tmp_path)
        x = opened(path).X
        found = sums(x)
    finally:
        settings.scratch_dir = None
        sc.settings.logfile = logfile
    assert list(x.copies) == []
    assert "scanpy-oom keeps no compact copy of a.h5ad:/X" in log.getvalue()
    for name, values in found.items():
        np.testing.assert_array_equal(values, want[name], err_msg=name)


_KILLED = """
import os, signal, sys
import scanpy as sc
from scanpy_oom.engine import thread_pass
from scanpy_oom.engine.cache import policy
from scanpy_oom.settings import settings
policy.IN_MEMORY = 0
settings.scratch_dir = sys.argv[2]
adata = sc.read_h5ad(sys.argv[1], backed="oom")
fetch = thread_pass.fetch
calls = []
def fetch_and_die(*args):
    calls.append(1)
    if len(calls) == 5:
        os.kill(os.getpid(), signal.SIGKILL)
    return fetch(*args)
thread_pass.fetch = fetch_and_die
adata.X.sum()
"""


def test_a_kill_in_the_middle_of_a_pass_leaves_no_litter(path, tmp_path):
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    killed = subprocess.run([sys.executable, "-c", _KILLED, path, scratch], check=False)
    assert killed.returncode == -signal.SIGKILL
    assert list(scratch.iterdir()) == []


@pytest.mark.usefixtures("scratch")
def test_a_failed_pass_leaves_no_stage(path):
    adata = opened(path)

    class Failing(AxisStatistics):
        def update(self, partial, block):
            if isinstance(block.positions, slice) and block.positions.start > 1000:
                msg = "planted"
                raise RuntimeError(msg)
            super().update(partial, block)

    with pytest.raises(RuntimeError, match="planted"):
        run([Request(adata.X, [Failing()])])
    assert scratch_files() == 0
    assert list(adata.X.copies) == []


@pytest.mark.parametrize("name", ["pbmc3k_counts.h5ad", "pbmc_facs_counts.h5ad"])
def test_on_counts_it_takes_at_most_fifteen_percent_of_csr(name, data_dir):
    x = opened(data_dir / name).X
    ENGINE.statistics(x, "col_sum")
    (whole,) = x.copies
    assert whole.nbytes <= 0.15 * 8 * x.nnz
    genes = np.sort(np.argsort(x.statistics.known["col_nnz"])[-2000:])
    some = x.select(None, genes)
    run([Request(some, [GroupMoments(np.zeros(x.shape[0], dtype=int), 1)])], reuse=True)
    (narrow,) = some.copies
    assert narrow.nbytes <= 0.15 * 8 * some.nnz


def test_totals_over_all_columns_are_not_taken_from_a_selection_that_repeats_some(path):
    adata, want = opened(path), opened(path).to_memory()
    for one in (adata, want):
        sc.pp.normalize_total(one, target_sum=1e4)
    columns = np.r_[0, 0, np.arange(80)]
    np.testing.assert_array_equal(dense(adata.X[:, columns]), want.X.toarray()[:, columns])
    np.testing.assert_array_equal(dense(adata.X), want.X.toarray())


def test_a_file_that_is_overwritten_after_it_was_staged_is_refused(path):
    adata = opened(path)
    adata.X.sum()
    with path.open("r+b") as file:
        file.write(b"x")
    with pytest.raises(CorruptFileError, match=r"a\.h5ad"):
        adata.X.sum(axis=0).sum() + adata.X[:2].sum()
