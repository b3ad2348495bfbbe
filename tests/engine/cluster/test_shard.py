"""Rows from copies and from the source, in any mixture, are the rows of the source."""

from __future__ import annotations

import gc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from scanpy_oom.engine.cache.compact_copy import CompactCopyWriter
from scanpy_oom.engine.cluster.shard import Shard, ShardReader, SpanWriter
from scanpy_oom.engine.partition import Rows
from scanpy_oom.engine.reader import SourceReader
from scanpy_oom.memory.ledger import ACCOUNTANT
from scanpy_oom.settings import settings
from scanpy_oom.storage.hdf5.open import open_source

N_ROWS, N_COLUMNS = 5000, 80

row_sets = st.sets(st.integers(0, N_ROWS - 1), min_size=1, max_size=300).map(lambda rows: np.array(sorted(rows)))


@pytest.fixture(scope="module")
def source(path):
    return open_source(path)


def read_all(shard: Shard, rows: np.ndarray, *, caches: bool = True) -> ShardReader:
    """Read rows in two halves and leave the copy."""
    reader = shard.reader(rows, None, caches=caches)
    assert isinstance(reader, ShardReader)
    for some in np.array_split(rows, 2):
        if some.size:
            assert_same_rows(reader, shard.source, some)
    reader.leave_copy(shard)
    return reader


def assert_same_rows(reader, source, rows: np.ndarray) -> None:
    found, want = reader.read(rows), SourceReader(source).read(rows)
    np.testing.assert_array_equal(found.indptr, want.indptr)
    np.testing.assert_array_equal(found.indices, want.indices)
    np.testing.assert_array_equal(found.data, want.data)
    assert (reader.sizes(rows) >= np.diff(want.indptr)).all()


@hypothesis_settings(max_examples=30)
@given(several=st.lists(row_sets, min_size=1, max_size=5))
def test_any_rows_are_those_of_the_source_whatever_was_read_before(source, several):
    shard, known = Shard(source), np.zeros(N_ROWS, dtype=bool)
    for rows in several:
        before = source.bytes_read
        n_copies = shard.n_copies
        read_all(shard, rows)
        assert shard.n_copies == n_copies + (not known[rows].all())
        known[rows] = True
        assert source.bytes_read >= before
    rows = np.flatnonzero(known)
    reader = shard.reader(rows, None, caches=True)
    assert_same_rows(reader, source, rows)
    pieces = reader.pieces(rows)
    assert pieces is None or (np.diff(pieces) >= 0).all()


def test_rows_of_copies_are_not_read_again(source):
    shard = Shard(source)
    read_all(shard, np.arange(100, 600))
    reader = shard.reader(np.arange(200, 500), None, caches=True)
    before = source.bytes_read
    reader.read(np.arange(200, 500))
    assert source.bytes_read == before


def test_rows_are_read_without_a_copy_where_nothing_may_be_kept(source):
    shard = Shard(source)
    read_all(shard, np.arange(100), caches=False)
    assert shard.n_copies == 0


def test_a_copy_that_lacks_rows_is_not_left(source):
    shard = Shard(source)
    reader = shard.reader(np.arange(100), None, caches=True)
    reader.read(np.arange(50))
    reader.leave_copy(shard)
    assert shard.n_copies == 0


def test_a_copy_that_is_discarded_is_not_left(source):
    shard = Shard(source)
    reader = shard.reader(np.arange(100), None, caches=True)
    reader.read(np.arange(100))
    reader.discard()
    reader.leave_copy(shard)
    assert shard.n_copies == 0
    assert_same_rows(reader, source, np.arange(100))


def test_where_there_is_no_room_for_a_copy_the_rows_are_read_all_the_same(source, monkeypatch, tmp_path):
    monkeypatch.setattr("scanpy_oom.engine.cluster.shard.IN_MEMORY", 0)
    settings.scratch_dir = tmp_path / "nowhere"
    shard = Shard(source)
    read_all(shard, np.arange(1000))
    assert shard.n_copies == 0


def write_columns(shard: Shard, rows: np.ndarray, columns: np.ndarray, first: int) -> None:
    from scanpy_oom.engine.column_selector import ColumnChoice
    from scanpy_oom.matrix.selection import Selection

    choice = ColumnChoice(Selection(None, columns, shard.source.shape), None)
    writer = SpanWriter(shard, rows, np.sort(columns), first)
    at = 0
    for some in np.array_split(rows, 3):
        shown = choice.select(SourceReader(shard.source).read(some))
        writer.shown(Rows(first + at, slice(0, some.size), some), choice, shown)
        at += some.size
    writer.finish()


def test_a_copy_of_few_columns_serves_those_who_need_no_others(source):
    shard, rows = Shard(source), np.arange(300, 700)
    columns = np.array([40, 3, 17, 60])
    write_columns(shard, rows, columns, first=300)
    needed = np.zeros(N_COLUMNS, dtype=bool)
    needed[columns[:2]] = True
    reader = shard.reader(rows[50:], needed, caches=True)
    np.testing.assert_array_equal(reader.columns, np.sort(columns))
    found, want = reader.read(rows[50:]), SourceReader(source).read(rows[50:])
    places = np.full(N_COLUMNS, -1)
    places[np.sort(columns)] = np.arange(4)
    inside = places[want.indices] >= 0
    np.testing.assert_array_equal(found.indices, places[want.indices[inside]])
    np.testing.assert_array_equal(found.data, want.data[inside])
    needed[5] = True
    for other in (shard.reader(rows, needed, caches=True), shard.reader(np.arange(299, 400), None, caches=True)):
        assert isinstance(other, ShardReader)


def test_copies_are_counted_and_given_back_where_memory_runs_short(source):
    shard = Shard(source)
    before = ACCOUNTANT.in_use
    read_all(shard, np.arange(2000))
    assert shard.n_copies == 1
    assert ACCOUNTANT.in_use > before
    ACCOUNTANT.make_room()
    assert ACCOUNTANT.in_use <= before
    assert_same_rows(shard.reader(np.arange(2000), None, caches=True), source, np.arange(2000))


def test_a_pass_goes_on_with_copies_that_were_given_back(source):
    shard = Shard(source)
    read_all(shard, np.arange(2000))
    reader = shard.reader(np.arange(2000), None, caches=True)
    shard.drop()
    gc.collect()
    assert shard.n_copies == 0
    assert_same_rows(reader, source, np.arange(2000))


def test_the_first_of_two_copies_of_a_row_is_read(source):
    """As where rows that repeat end one run and begin the next."""
    shard = Shard(source)
    for rows in (np.arange(0, 60), np.arange(50, 100)):
        writer = CompactCopyWriter(source, rows, None, rows.size, 2**20)
        block = SourceReader(source).read(rows)
        writer.add(0, block.indptr, block.indices, block.data)
        shard.add(writer.finish())
    assert_same_rows(shard.reader(np.arange(100), None, caches=True), source, np.arange(100))
    assert_same_rows(shard.reader(np.arange(100), None, caches=True), source, np.array([3, 55, 99]))
