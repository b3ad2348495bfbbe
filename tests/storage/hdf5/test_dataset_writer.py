"""What is appended to a dataset is what h5py reads from it, whatever the filters, chunks and pieces."""

from __future__ import annotations

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import h5py
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scanpy_oom.storage.hdf5.dataset_writer import DatasetWriter

FILTERS = [
    {},
    {"shuffle": True},
    {"compression": "gzip"},
    {"compression": "gzip", "compression_opts": 9, "shuffle": True},
    {"compression": "lzf"},
    {"compression": "gzip", "fletcher32": True},
    {"scaleoffset": 0},
]


def written(tmp_path, pieces, dtype, **options):
    """Append pieces to a dataset; return what h5py reads, and its creation properties."""
    with h5py.File(tmp_path / "a.h5", "w") as file, ThreadPoolExecutor(2) as pool:
        dataset = file.create_dataset("a", (0, *pieces[0].shape[1:]), dtype, **options)
        writer = DatasetWriter(dataset, pool, 2)
        for piece in pieces:
            writer.append(piece)
        assert writer.n_rows == sum(map(len, pieces))
        writer.close()
    with h5py.File(tmp_path / "a.h5") as file:
        return file["a"][()], file["a"].id.get_create_plist().get_nfilters()


@pytest.mark.parametrize("options", FILTERS, ids=str)
@settings(max_examples=20)
@given(lengths=st.lists(st.integers(0, 40), min_size=1, max_size=8), chunk=st.integers(1, 30), seed=st.integers(0, 99))
def test_what_is_appended_is_what_is_read(tmp_path_factory, options, lengths, chunk, seed):
    rng = np.random.default_rng(seed)
    dtype = np.dtype(np.int32 if "scaleoffset" in options else np.float32)
    pieces = [rng.integers(0, 100, n).astype(dtype) for n in lengths]
    found, _ = written(tmp_path_factory.mktemp("a"), pieces, dtype, maxshape=(None,), chunks=(chunk,), **options)
    np.testing.assert_array_equal(found, np.concatenate(pieces))


@pytest.mark.parametrize("options", FILTERS, ids=str)
@pytest.mark.parametrize("chunks", [(4, 7), (4, 3), (50, 7)])
def test_rows_of_a_matrix_are_appended_whole(tmp_path, options, chunks):
    pieces = [np.arange(n * 7, dtype=np.int32).reshape(n, 7) for n in (3, 9, 0, 10)]
    found, n_filters = written(tmp_path, pieces, np.int32, maxshape=(None, 7), chunks=chunks, **options)
    np.testing.assert_array_equal(found, np.concatenate(pieces))
    assert n_filters == len(options) - ("compression_opts" in options)


def test_values_take_the_type_of_the_dataset(tmp_path):
    found, _ = written(tmp_path, [np.array([1.0, 2.0])], np.uint16, maxshape=(None,), chunks=(2,))
    assert found.dtype == np.uint16
    np.testing.assert_array_equal(found, [1, 2])


WRITERS = """
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
import h5py
import numpy as np
from scanpy_oom.storage.hdf5.dataset_writer import DatasetWriter

def write(number):
    with h5py.File(Path(sys.argv[1]) / f"{number % 3}-{number}.h5", "w") as file, ThreadPoolExecutor(1) as pool:
        dataset = file.create_dataset("a", (0,), "f4", maxshape=(None,), chunks=(100,), compression="gzip")
        writer = DatasetWriter(dataset, pool, 2)
        writer.append(np.ones(1000, "f4"))
        writer.close()

with ThreadPoolExecutor(3) as pool:
    list(pool.map(write, range(600)))
"""


def test_threads_that_write_at_once_do_not_end_the_process(tmp_path):
    done = subprocess.run([sys.executable, "-c", WRITERS, tmp_path], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
