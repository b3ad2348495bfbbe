"""Passes on a device: what they say, what they do without room, and what stays on the CPU."""

from __future__ import annotations

import io
import os
from types import SimpleNamespace

import numpy as np
import pytest
import scanpy as sc

import scanpy_oom
from scanpy_oom.engine.compute import run
from scanpy_oom.engine.device import executor as device_run
from scanpy_oom.engine.device.choice import chosen_device
from scanpy_oom.engine.device.device import NumpyDevice
from scanpy_oom.engine.request import Request
from scanpy_oom.engine.runtime import pass_log
from scanpy_oom.errors import DeviceError
from scanpy_oom.matrix.transforms import Elementwise
from scanpy_oom.matrix.transforms.conditional import Where
from scanpy_oom.matrix.transforms.scale import Scale
from scanpy_oom.queries.linalg.eigen import ExplicitGram, leading_eigenpairs
from scanpy_oom.reductions import AxisStatistics, Gram, GroupMoments, MapRows, TopSums
from scanpy_oom.settings import settings

from ...matrices import counts, oom


@pytest.fixture
def on_numpy(monkeypatch):
    monkeypatch.setattr(settings, "_device", "numpy")
    monkeypatch.setattr(settings, "_memory_limit", 10**9)


def ask(matrix):
    codes = np.arange(matrix.shape[0]) % 3
    asked = [AxisStatistics(), GroupMoments(codes, 3), TopSums(np.array([3]))]
    statistics, moments, tops = run([Request(matrix, asked)])[0]
    return [*statistics.known.values(), moments.total, moments.total_squared, tops]


def logged(function):
    before, log = sc.settings.logfile, io.StringIO()
    sc.settings.logfile = log
    try:
        return function(), log.getvalue()
    finally:
        sc.settings.logfile = before


class Crowded(NumpyDevice):
    """One whose memory others have taken since it was looked at."""

    def __init__(self, room: int) -> None:
        super().__init__(10**9)
        self._room = room

    def send(self, arrays):
        if sum(array.nbytes for array in arrays) > self._room:
            raise MemoryError
        return super().send(arrays)


@pytest.mark.parametrize("shuffled", [False, True])
def test_a_block_without_room_is_halved_and_said_so(monkeypatch, shuffled):
    x = counts(1500, 40, density=0.6)
    rows = np.random.default_rng(0).permutation(1500) if shuffled else None
    mask = np.random.default_rng(1).random(1500) < 0.5

    def matrix():
        scale = Scale(np.ones(40), np.ones(40), None, mask, np.dtype(float), dense=False)
        return oom(x).transform(Elementwise("log1p")).transform(scale).select(rows, None)

    want = ask(matrix())
    device = Crowded(20_000)
    monkeypatch.setattr(settings, "_device", "numpy")
    monkeypatch.setattr(device_run, "chosen_device", lambda: device)
    found, said = logged(lambda: ask(matrix()))
    for a, b in zip(found, want, strict=True):
        np.testing.assert_array_equal(a, b)
    assert "numpy has no room for a block of" in said
    assert "going on with blocks of" in said


class Arrays:
    """NumPy, but for one call of it that finds no memory."""

    def __init__(self, failing: int) -> None:
        self._left = failing
        self.add = self

    def __getattr__(self, name):
        function = getattr(np, name)
        return function if isinstance(function, type | float) else self._maybe(function)

    def _maybe(self, function):
        def call(*args, **kwargs):
            self._left -= 1
            if self._left == 0:
                raise MemoryError
            return function(*args, **kwargs)

        return call

    def at(self, *args):
        self._maybe(np.add.at)(*args)


@pytest.mark.parametrize("failing", range(1, 70, 3))
@pytest.mark.usefixtures("on_numpy")
def test_what_finds_no_memory_halfway_counts_nothing_twice(monkeypatch, failing):
    x = counts(400, 20)
    want = ask(oom(x))

    class Failing(NumpyDevice):
        """Fails while blocks are worked on."""

    update = device_run.DevicePass.add_to

    def fails(self, form, block):
        if self.on.xp is np and isinstance(self.on, Failing):
            self.on.xp = Arrays(failing)
            form.xp = self.on.xp
        update(self, form, block)

    device = Failing(10**9)
    monkeypatch.setattr(device_run, "chosen_device", lambda: device)
    monkeypatch.setattr(device_run.DevicePass, "add_to", fails)
    for a, b in zip(ask(oom(x)), want, strict=True):
        np.testing.assert_array_equal(a, b)


def test_a_row_without_room_is_refused_with_a_way_out(monkeypatch):
    device = Crowded(300)
    monkeypatch.setattr(settings, "_device", "numpy")
    monkeypatch.setattr(device_run, "chosen_device", lambda: device)
    with pytest.raises(DeviceError, match=r"A row of .* finds no room in the memory of numpy.*device_memory_limit"):
        run([Request(oom(counts(5, 200, density=1.0)), [AxisStatistics()])])


@pytest.mark.usefixtures("on_numpy")
def test_what_takes_more_than_the_memory_of_the_device_is_refused_before_it_starts(monkeypatch):
    monkeypatch.setattr(settings, "_device_memory_limit", 10**8)
    with pytest.raises(DeviceError, match=r"takes at least .* of the memory of numpy, of which 100 MB are for it"):
        run([Request(oom(counts(20, 3000)), [Gram()])])


@pytest.mark.usefixtures("on_numpy")
def test_what_is_not_covered_runs_on_the_cpu_which_the_record_says():
    lazy = oom(counts(20, 5))
    run([Request(lazy, [MapRows(lambda rows: np.ravel(rows.sum(axis=1)))])])
    assert (pass_log.recent()[-1].device, pass_log.recent()[-1].why_not_on_device) == ("cpu", "MapRows")
    run([Request(lazy, [AxisStatistics()])])
    assert (pass_log.recent()[-1].device, pass_log.recent()[-1].why_not_on_device) == ("numpy", "")


class Sparing(NumpyDevice):
    """One whose package of arrays lacks a ufunc."""

    xp = SimpleNamespace(**{name: value for name, value in vars(np).items() if name != "log1p"})


def test_steps_that_the_arrays_of_the_device_lack_run_on_the_cpu(monkeypatch):
    monkeypatch.setattr(settings, "_device", "numpy")
    monkeypatch.setattr(device_run, "chosen_device", lambda: Sparing(10**9))
    for step, ran in (
        (Elementwise("log1p"), ("cpu", "log1p in the chain")),
        (Elementwise("sqrt"), ("numpy", "")),
        (Where((Elementwise("greater", 1.0),), np.float32(1)), ("cpu", "put in the chain")),
        (Scale(None, np.ones(5), -1.0, None, np.dtype(np.float32), dense=False), ("numpy", "")),
        (Scale(np.ones(5), np.ones(5), -1.0, None, np.dtype(np.float32), dense=True), ("cpu", "clip in the chain")),
    ):
        run([Request(oom(counts(20, 5)).transform(step), [AxisStatistics()])])
        assert (pass_log.recent()[-1].device, pass_log.recent()[-1].why_not_on_device) == ran


@pytest.mark.usefixtures("on_numpy")
def test_the_report_says_where_passes_ran(h5ad):
    adata = sc.read_h5ad(h5ad, backed="oom")
    scanpy_oom.report(clear=True)
    sc.pp.calculate_qc_metrics(adata, percent_top=None, inplace=True)
    sc.pp.downsample_counts(adata, counts_per_cell=5)
    qc, draws = (call.reason for call in scanpy_oom.report().calls)
    assert qc.endswith("; passes on numpy (1)")
    assert draws.endswith("; passes on the CPU for DownsampleRows (1)")


def test_on_the_cpu_the_report_says_nothing_of_devices(h5ad):
    adata = sc.read_h5ad(h5ad, backed="oom")
    scanpy_oom.report(clear=True)
    sc.pp.calculate_qc_metrics(adata, percent_top=None, inplace=True)
    assert "passes on" not in scanpy_oom.report().calls[0].reason


@pytest.mark.usefixtures("on_numpy")
def test_eigenpairs_are_those_of_lapack(monkeypatch):
    matrix = oom(counts(300, 30))
    gram = ExplicitGram(matrix, center=True)
    values, vectors = np.linalg.eigh(gram.gram.copy())
    found = leading_eigenpairs(gram, 5, np.random.RandomState(0), 0)
    np.testing.assert_allclose(found.singular_values**2, values[::-1][:5], rtol=1e-12)
    np.testing.assert_allclose(np.abs((found.components @ vectors)[:, ::-1][:, :5]), np.eye(5), atol=1e-9)
    small = ExplicitGram(matrix, center=True)
    monkeypatch.setattr(settings, "_device_memory_limit", 1000)  # then LAPACK finds them
    again = leading_eigenpairs(small, 5, np.random.RandomState(0), 0)
    np.testing.assert_allclose(found.singular_values, again.singular_values, rtol=1e-12)


@pytest.mark.usefixtures("on_numpy")
def test_a_workflow_gives_what_it_gives_on_the_cpu(monkeypatch, pbmc3k):
    def workflow():
        adata = sc.read_h5ad(pbmc3k, backed="oom")
        adata.var_names_make_unique()
        adata.var["mt"] = adata.var_names.str.startswith("MT-")
        sc.pp.calculate_qc_metrics(adata, qc_vars=["mt"], percent_top=[50], inplace=True)
        sc.pp.filter_genes(adata, min_cells=3)
        sc.pp.normalize_total(adata, target_sum=1e4)
        sc.pp.log1p(adata)
        sc.pp.highly_variable_genes(adata, n_top_genes=1500)
        adata.obs["kind"] = (np.arange(adata.n_obs) % 4).astype(str)
        adata.obs["kind"] = adata.obs["kind"].astype("category")
        sc.tl.rank_genes_groups(adata, "kind", method="wilcoxon")
        kept = adata[:, adata.var["highly_variable"]].copy()
        sc.pp.scale(kept, max_value=10)
        sc.pp.pca(kept, n_comps=10)
        ranked = adata.uns["rank_genes_groups"]
        return adata.obs["pct_counts_mt"], adata.var["highly_variable"], ranked["scores"], ranked["names"], kept

    *found, kept = workflow()
    monkeypatch.setattr(settings, "_device", "cpu")
    *want, kept_on_cpu = workflow()
    for a, b in zip(found, want, strict=True):
        np.testing.assert_array_equal(a, b)
    np.testing.assert_allclose(np.abs(kept.obsm["X_pca"]), np.abs(kept_on_cpu.obsm["X_pca"]), rtol=1e-4, atol=1e-4)


def test_without_a_gpu_auto_goes_on_and_cuda_says_what_is_missing(monkeypatch):
    if os.path.exists("/dev/nvidia0"):  # noqa: PTH110
        pytest.skip("there is a GPU")
    monkeypatch.setattr(settings, "_device", "auto")
    assert chosen_device() is None
    run([Request(oom(counts(20, 5)), [AxisStatistics()])])
    assert pass_log.recent()[-1].device == "cpu"
    monkeypatch.setattr(settings, "_device", "cuda")
    with pytest.raises(DeviceError, match=r"(CuPy is not installed|There is no NVIDIA driver).*device = 'auto'"):
        run([Request(oom(counts(20, 5)), [AxisStatistics()])])


def test_the_setting_takes_known_devices_alone(monkeypatch):
    monkeypatch.setenv("SCANPY_OOM_DEVICE", "auto")
    monkeypatch.setenv("SCANPY_OOM_DEVICE_MEMORY_LIMIT", "2 GB")
    assert (settings.device, settings.device_memory_limit) == ("auto", 2 * 10**9)
    with pytest.raises(ValueError, match="device must be one of 'cpu', 'cuda', 'auto', 'numpy', not 'tpu'"):
        settings.device = "tpu"
    settings.device, settings.device_memory_limit = "numpy", "1 GB"
    assert (settings.device, settings.device_memory_limit) == ("numpy", 10**9)
    settings.device = settings.device_memory_limit = None
    assert settings.device == "auto"


@pytest.mark.usefixtures("on_numpy")
def test_reductions_and_products_of_x_run_on_the_device():
    x = counts(60, 12)
    asked = lambda m: m.sum(axis=0), lambda m: m.max(axis=1), lambda m: m @ np.ones((12, 2)), lambda m: m.mean()
    for question in asked:
        before = pass_log.totals().passes
        want = question(x.toarray())
        np.testing.assert_allclose(np.ravel(_dense(question(oom(x)))), np.ravel(want), rtol=1e-6)
        n_passes = pass_log.totals().passes - before
        assert n_passes > 0
        assert {r.device for r in pass_log.recent()[-n_passes:]} == {"numpy"}


def _dense(found):
    return found.toarray() if hasattr(found, "toarray") else found


@pytest.mark.usefixtures("on_numpy")
def test_auto_goes_on_where_a_card_is_too_small_for_a_pass(monkeypatch):
    monkeypatch.setattr(settings, "_device", "auto")
    monkeypatch.setattr(device_run, "chosen_device", lambda: NumpyDevice(10**8))
    run([Request(oom(counts(20, 3000)), [Gram()])])
    assert (pass_log.recent()[-1].device, pass_log.recent()[-1].why_not_on_device) == ("cpu", "want of memory on numpy")
