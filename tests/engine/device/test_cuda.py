"""The GPU's side of passes: what is said where there is none that works, and what it does with memory and streams."""

from __future__ import annotations

import sys

import numpy as np
import pytest

from scanpy_oom.engine.compute import run
from scanpy_oom.engine.device import choice, cuda
from scanpy_oom.engine.device import executor as device_run
from scanpy_oom.engine.request import Request
from scanpy_oom.engine.runtime import pass_log
from scanpy_oom.errors import DeviceError
from scanpy_oom.matrix.transforms import Elementwise
from scanpy_oom.reductions import AxisStatistics, Gram, GroupMoments, GroupRanks, RightProduct
from scanpy_oom.settings import settings

from ...matrices import counts, oom
from .standin import StandIn


@pytest.fixture
def stand_in(monkeypatch):
    """Make CuPy, and forget what was found before."""

    def use(**arguments):
        package = StandIn(**arguments)
        monkeypatch.setitem(sys.modules, "cupy", package)
        for name in ("cupyx", "cupyx.scipy", "cupyx.scipy.sparse"):
            monkeypatch.setitem(sys.modules, name, package.sparse)
        monkeypatch.setattr(choice, "_found", {})
        return package

    monkeypatch.setattr(settings, "_device", "cuda")
    monkeypatch.setattr(settings, "_memory_limit", 10**9)
    return use


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"driver": 0}, "There is no NVIDIA driver on this machine"),
        ({"driver": 12020}, r"The NVIDIA driver supports CUDA 12\.2, and CuPy was built for 13\.2.*gpu-cuda12"),
        ({"count": 0}, "No GPU can be seen; is CUDA_VISIBLE_DEVICES"),
        ({"error": RuntimeError("cudaErrorNoDevice")}, "The GPU cannot be used: RuntimeError: cudaErrorNoDevice"),
        ({"free": 10**8}, "The GPU has 100 MB of its 20 GB free, and passes take at least 500 MB"),
    ],
)
def test_what_keeps_a_gpu_from_working_is_said_once_and_clearly(stand_in, monkeypatch, arguments, message):
    stand_in(**arguments)
    with pytest.raises(DeviceError, match=message):
        choice.chosen_device()
    monkeypatch.setattr(settings, "_device", "auto")
    assert choice.chosen_device() is None


def test_sums_that_are_wrong_are_noticed(stand_in):
    package = stand_in()
    package.arange = lambda n, dtype: np.ones(n, dtype=dtype) * 5
    with pytest.raises(DeviceError, match="computes wrong sums"):
        choice.chosen_device()


def test_libraries_that_are_not_found_are_named(monkeypatch):
    def fails(name):
        raise ImportError("libnvrtc.so.13: cannot open shared object file")

    monkeypatch.setattr(cuda, "import_module", fails)
    with pytest.raises(DeviceError, match=r"CuPy cannot be imported: libnvrtc\.so\.13"):
        cuda.import_cupy()


def test_the_memory_is_a_share_of_what_is_free_and_limits_the_pool(stand_in, monkeypatch):
    stand_in(free=10**9)
    monkeypatch.setattr(settings, "_device_memory_limit", 2 * 10**9)
    device = choice.chosen_device()
    assert device.title == "Stand-in"
    assert device.memory == device._pool.limit == 750_000_000
    assert choice.chosen_device() is device


@pytest.mark.parametrize("in_one_block", [True, False])
def test_copies_that_come_late_change_nothing(stand_in, monkeypatch, in_one_block):
    stand_in()
    if not in_one_block:
        monkeypatch.setattr(device_run, "LARGEST_BLOCK", 3000)
    x, codes = counts(2000, 30, density=0.4), np.arange(2000) % 4

    def found():
        asked = [AxisStatistics(), GroupMoments(codes, 4), RightProduct(np.eye(30, 3)), Gram(), GroupRanks(codes, 4)]
        statistics, moments, product, gram, ranks = run([Request(oom(x).transform(Elementwise("log1p")), asked)])[0]
        return [*statistics.known.values(), moments.total, moments.nnz, product, gram, ranks.sums, ranks.ties]

    on_device = found()
    assert pass_log.recent()[-1].device == "Stand-in"
    monkeypatch.setattr(settings, "_device", "cpu")
    for a, b in zip(on_device, found(), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-12)


def test_memory_that_is_refused_is_given_back_and_asked_for_again(stand_in, monkeypatch):
    package = stand_in()
    device, left = choice.chosen_device(), [3]
    empty = package.empty

    def refuses(shape, dtype):
        left[0] -= 1
        if left[0] == 0:
            raise MemoryError
        return empty(shape, dtype)

    monkeypatch.setattr(package, "empty", refuses, raising=False)
    x = counts(500, 20)
    known = run([Request(oom(x), [AxisStatistics()])])[0][0].known
    np.testing.assert_array_equal(known["col_sum"], np.ravel(x.sum(axis=0)))
    np.testing.assert_array_equal(known["row_sum"], np.ravel(x.sum(axis=1)))
    assert device._pool.freed
