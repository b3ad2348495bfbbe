from __future__ import annotations

import os
import stat

import numpy as np
import psutil
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from scanpy_oom.errors import MemoryBudgetExceeded
from scanpy_oom.settings import settings
from scanpy_oom.storage.scratch import file as scratch
from scanpy_oom.storage.scratch.file import ScratchArray, ScratchSpaceError, SharedArray, check_scratch_space


@given(start=st.integers(0, 10_000), n=st.integers(0, 100))
@hypothesis_settings(deadline=None)
def test_what_was_written_is_read(start, n):
    values = np.arange(n, dtype="f8")
    with ScratchArray(np.dtype("f8")) as array:
        array.write(values, start)
        out = np.empty(n)
        array.read(start, out)
    np.testing.assert_array_equal(out, values)


def test_file_is_private_and_has_no_name(scratch_dir):
    with ScratchArray(np.dtype("f4")) as array:
        array.write(np.ones(1000, dtype="f4"), 0)
        status = os.fstat(array._file.fileno())
        assert stat.S_IMODE(status.st_mode) == 0o600
        assert status.st_nlink == 0
        assert list(scratch_dir.iterdir()) == []


def test_reading_what_was_not_written_fails():
    with ScratchArray(np.dtype("f4")) as array, pytest.raises(OSError, match="ends before byte"):
        array.read(0, np.empty(3, dtype="f4"))


def test_folder_that_does_not_exist_is_named(scratch_dir):
    settings.scratch_dir = scratch_dir / "nowhere"
    with pytest.raises(ScratchSpaceError, match=r"nowhere.*Set settings\.scratch_dir"):
        ScratchArray(np.dtype("f4"))
    with pytest.raises(ScratchSpaceError, match=r"nowhere, which is no folder"):
        check_scratch_space(1, "Something")


def test_what_one_process_writes_under_a_name_another_reads(scratch_dir):
    values = np.arange(1000, dtype="f4")
    path = scratch_dir / "shared.values"
    with SharedArray(path, values.dtype, new=True) as array:
        array.write(values, 10)
        with SharedArray(path, values.dtype, new=False) as other:
            out = np.empty_like(values)
            other.read(10, out)
    np.testing.assert_array_equal(out, values)
    assert path.stat().st_size == 4 * 1010  # who made the folder removes it


def test_a_name_that_is_taken_or_missing_is_told(scratch_dir):
    path = scratch_dir / "shared.values"
    with pytest.raises(ScratchSpaceError, match=r"shared\.values cannot be read: .*No such file"):
        SharedArray(path, np.dtype("f4"), new=False)
    path.touch()
    with pytest.raises(ScratchSpaceError, match=r"shared\.values cannot be made: .*exists"):
        SharedArray(path, np.dtype("f4"), new=True)


def test_more_than_is_free_is_refused_before_writing(scratch_dir):
    free = psutil.disk_usage(str(scratch_dir)).free
    with pytest.raises(ScratchSpaceError, match=rf"A copy takes .* of scratch space, and {scratch_dir} has .* free"):
        check_scratch_space(free * 2, "A copy")
    check_scratch_space(1000, "A copy")


def test_full_disk_is_explained(monkeypatch):
    def pwrite(fd, data, offset):
        raise OSError(28, "No space left on device")

    with ScratchArray(np.dtype("f4")) as array:
        monkeypatch.setattr(scratch.os, "pwrite", pwrite)
        with pytest.raises(ScratchSpaceError, match=r"Writing scratch files takes 400 B.*on another disk"):
            array.write(np.ones(100, dtype="f4"), 0)


def test_folder_in_memory_counts_as_memory(scratch_dir, memory_limit, monkeypatch):
    mounts = [psutil.disk_partitions(all=True)[0]._replace(mountpoint=str(scratch_dir.resolve()), fstype="tmpfs")]
    monkeypatch.setattr(scratch.psutil, "disk_partitions", lambda all: mounts)
    memory_limit("1 MB")
    check_scratch_space(1_000_000, "A copy")
    with pytest.raises(MemoryBudgetExceeded, match=r"A copy takes 2 MB.*lies in memory.*memory_limit is 1 MB"):
        check_scratch_space(2_000_000, "A copy")
