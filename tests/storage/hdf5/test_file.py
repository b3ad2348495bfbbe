from __future__ import annotations

import errno
import gc
import os
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import h5py
import numpy as np
import pytest

from scanpy_oom.errors import CorruptFileError, NotAnH5adError
from scanpy_oom.storage.hdf5.file import SourceFile


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "some.h5"
    with h5py.File(path, "w") as h5:
        h5["a"] = np.arange(1000)
    return path


def _touch(path):
    status = path.stat()
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns + 10**9))


def test_missing_file_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"missing\.h5ad"):
        SourceFile(tmp_path / "missing.h5ad")


def test_folder_is_named_and_zarr_hinted_at(tmp_path):
    with pytest.raises(IsADirectoryError, match=r"is a folder.*read_zarr"):
        SourceFile(tmp_path)


@pytest.mark.parametrize("content", [b"", b"\x1f\x8b\x08 gzipped", b"%%MatrixMarket matrix" * 200])
def test_other_files_are_named_with_what_they_start_with(tmp_path, content):
    path = tmp_path / "odd.h5ad"
    path.write_bytes(content)
    with pytest.raises(NotAnH5adError, match=r"odd\.h5ad is not an HDF5 file \(it starts with b"):
        SourceFile(path)


def test_user_block_before_the_signature_is_legal(tmp_path):
    path = tmp_path / "user.h5"
    with h5py.File(path, "w", userblock_size=1024) as h5:
        h5["a"] = 1
    with SourceFile(path).open_library() as h5:
        assert h5["a"][()] == 1


def test_truncated_file_is_corrupt(path):
    os.truncate(path, path.stat().st_size - 100)
    with pytest.raises(CorruptFileError, match=r"some\.h5 cannot be opened.*truncated.*fetch or write it again"):
        SourceFile(path).open_library()


def test_reading_past_the_end_is_corrupt(path):
    file, size = SourceFile(path), path.stat().st_size
    with pytest.raises(CorruptFileError, match=rf"is truncated: 20 bytes were expected at byte {size - 10}"):
        file.pread(20, size - 10)


def test_bytes_are_counted(path):
    file = SourceFile(path)
    file.pread(20, 0)
    file.pread(30, 7)
    assert file.counter.total == 50


def test_change_is_noticed(path):
    file = SourceFile(path)
    with file.unchanged():
        pass
    _touch(path)
    with pytest.raises(CorruptFileError, match=r"some\.h5 has changed since it was opened"), file.unchanged():
        pass


def test_change_explains_other_failures(path):
    file = SourceFile(path)
    os.truncate(path, 100)
    with pytest.raises(CorruptFileError, match="has changed since it was opened"), file.unchanged():
        file.pread(50, 90)


def test_failure_in_an_unchanged_file_is_passed_on(path):
    file = SourceFile(path)
    with pytest.raises(CorruptFileError, match="truncated"), file.unchanged():
        file.pread(50, path.stat().st_size)


def test_stamp_of_an_earlier_opening_must_match(path):
    stamp = SourceFile(path).stamp
    SourceFile(path, stamp)
    _touch(path)
    with pytest.raises(CorruptFileError, match="has changed since it was opened"):
        SourceFile(path, stamp)


def test_file_that_lost_its_name_is_still_read(path, tmp_path):
    file = SourceFile(path)
    with h5py.File(tmp_path / "new.h5", "w") as h5:
        h5["a"] = np.zeros(3)
    (tmp_path / "new.h5").replace(path)
    with file.unchanged(), file.open_library() as h5:
        np.testing.assert_array_equal(h5["a"], np.arange(1000))
    path.unlink()
    with file.unchanged(), file.open_library() as h5:
        assert len(h5["a"]) == 1000


def test_closed_file_says_so(path):
    file = SourceFile(path)
    file.close()
    file.close()
    with pytest.raises(ValueError, match="has been closed"):
        file.pread(1, 0)


def test_descriptor_is_released_with_the_object(path):
    file = SourceFile(path)
    fd = file.fd
    del file
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(fd)


def test_matrices_of_one_file_share_a_descriptor(path, tmp_path, n_open_files):
    gc.collect()  # nothing of other tests is closed meanwhile
    before = n_open_files()
    files = [SourceFile(path) for _ in range(5)]
    assert n_open_files() == before + 1
    link = tmp_path / "link.h5"
    link.symlink_to(path)
    files.append(SourceFile(link))
    assert len({file.fd for file in files}) == 1
    for file in files[:-1]:
        file.close()
    np.testing.assert_array_equal(files[-1].pread(4, 0).tobytes(), b"\x89HDF")
    del file, files
    assert n_open_files() == before


def test_a_file_that_takes_the_place_of_another_has_a_descriptor_of_its_own(path, tmp_path):
    old = SourceFile(path)
    with h5py.File(tmp_path / "new.h5", "w") as h5:
        h5["a"] = np.zeros(3)
    (tmp_path / "new.h5").replace(path)
    new = SourceFile(path)
    assert new.fd != old.fd
    with new.unchanged(), new.open_library() as h5:
        assert len(h5["a"]) == 3
    with old.unchanged(), old.open_library() as h5:
        assert len(h5["a"]) == 1000


def test_threads_open_and_close_one_file(path, n_open_files):
    gc.collect()  # nothing of other tests is closed meanwhile
    before = n_open_files()

    def read(_):
        file = SourceFile(path)
        found = file.pread(8, 0).tobytes()
        file.close()
        return found

    with ThreadPoolExecutor(8) as pool:
        assert set(pool.map(read, range(2000))) == {b"\x89HDF\r\n\x1a\n"}
    assert n_open_files() == before


@contextmanager
def _no_more_files():
    """Let this process open no file beyond those that are open."""
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    free = os.open(os.devnull, os.O_RDONLY)
    os.close(free)
    resource.setrlimit(resource.RLIMIT_NOFILE, (free, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.mark.skipif(sys.platform == "win32", reason="files cannot be limited there")
def test_too_many_open_files_are_no_damage_and_what_to_do_is_said(path):
    file = SourceFile(path)
    said = r"Too many files are open\. Close what is no longer needed .*ulimit -n.*some\.h5"
    with _no_more_files():
        for fails in (lambda: SourceFile(path), file.open_library):
            with pytest.raises(OSError, match=said) as caught:
                fails()
            assert caught.value.errno == errno.EMFILE
            assert not isinstance(caught.value, CorruptFileError)
        assert len(file.pread(8, 0)) == 8
    with file.open_library() as h5:
        assert len(h5["a"]) == 1000
