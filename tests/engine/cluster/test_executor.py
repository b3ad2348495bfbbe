"""Passes on workers give what passes on threads give, to the last bit."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import anndata as ad
import numpy as np
import pytest
import scanpy as sc
from dask.distributed import Client
from scipy import sparse

import scanpy_oom
from scanpy_oom.engine.abc import Distribution
from scanpy_oom.engine.budget import LARGE
from scanpy_oom.engine.compute import compute, executor, run
from scanpy_oom.engine.reduction import Reduction
from scanpy_oom.engine.request import Request, Step
from scanpy_oom.matrix import OOMMatrix
from scanpy_oom.reductions import AxisStatistics, Gram, GroupMoments, GroupWelford, SetSums, write_parts
from scanpy_oom.reductions.write_parts import WriteParts
from scanpy_oom.settings import settings
from scanpy_oom.storage import matrix_writer

from ...matrices import annotated, counts, oom
from ..test_array_implementation import CHAINS, kinds
from .planted import Late, Unsendable
from .results import assert_same_bits, last_pass, one_of_each

pytestmark = pytest.mark.filterwarnings("ignore:Some cells have zero counts", "ignore::RuntimeWarning")

Read = Callable[[], ad.AnnData]

N_ROWS, N_COLUMNS = 5000, 80
RNG = np.random.default_rng(0)
ROWS = {
    "all": None,
    "some": np.arange(100, 4500),
    "shuffled": RNG.permutation(N_ROWS),
    "repeated": RNG.integers(0, N_ROWS, 6000),
}
COLUMNS = {"all": None, "some": np.arange(70), "backwards": np.arange(N_COLUMNS)[::-1], "repeated": np.arange(99) % 80}
MEMBER = RNG.random((N_COLUMNS, 3)) < 0.5

KINDS = {
    "plain": lambda one: not (one.in_order or one.is_final),
    "not in order": lambda one: not one.in_order,
    "all": lambda one: True,
}
"""Reductions of one pass: merged on workers; merged here, as some are final; one run after the other."""


@pytest.fixture(autouse=True)
def _room():
    """Ranks take more than what a busy machine may have left by default."""
    settings.memory_limit = 2 * 10**9


def matrix(read: Read, chain: str, rows: str = "all", columns: str = "all") -> OOMMatrix:
    """A matrix of which nothing is known yet: totals of rows are found by the pass."""
    whole = read().X
    return CHAINS[chain](np.random.default_rng(0), whole.shape)(whole).select(ROWS[rows], COLUMNS[columns])


def found(make: Callable[[], OOMMatrix], kind: str) -> tuple[list[Any], Sequence[Reduction]]:
    x = make()
    asked = [one for one in one_of_each(x) if KINDS[kind](one)]
    return run([Request(x, asked)])[0], asked


def assert_same_as_on_threads(engine: Client, make: Callable[[], OOMMatrix], kind: str) -> None:
    want, asked = found(make, kind)
    with scanpy_oom.engine(engine):
        assert_same_bits(found(make, kind)[0], want, asked)
    n = len(engine.nthreads())
    assert last_pass().device == f"{n} Dask worker{'s' if n > 1 else ''}"
    assert last_pass().why_not_on_device == ""


@pytest.mark.parametrize(
    "chain, kind",
    [
        *((chain, "plain") for chain in ("counts", "normalised", "scaled", "corrected", "residuals")),
        *((chain, kind) for chain in ("normalised", "corrected") for kind in ("not in order", "all")),
    ],
)
def test_every_reduction_is_the_same_on_two_processes_as_on_threads(client, read, chain, kind):
    assert_same_as_on_threads(client, lambda: matrix(read, chain), kind)


@pytest.mark.parametrize(
    "rows, columns",
    [("some", "all"), ("shuffled", "backwards"), ("repeated", "all"), ("all", "some"), ("repeated", "repeated")],
)
def test_rows_and_columns_in_any_order_and_repeated_arrive_in_their_places(three, read, rows, columns):
    assert_same_as_on_threads(three, lambda: matrix(read, "normalised", rows, columns), "all")


@pytest.mark.parametrize("workers", ["one", "three", "four"])
@pytest.mark.parametrize("kind", KINDS)
def test_results_do_not_depend_on_the_number_of_workers(request, read, workers, kind):
    make = lambda: matrix(read, "scaled", "shuffled", "some")
    assert_same_as_on_threads(request.getfixturevalue(workers), make, kind)


def test_all_reductions_that_workers_may_compute_are_tested(read):
    tested = {type(one) for one in one_of_each(read().X)}
    ours = {kind for kind in kinds() if kind.__module__.startswith("scanpy_oom.reductions.")}
    for kind in ours - tested:
        in_test_write_parts = kind is WriteParts
        assert in_test_write_parts or kind.only_here or kind.__abstractmethods__ or kind.__subclasses__(), kind


@pytest.mark.parametrize("engine", ["client", "three"])
def test_runs_may_end_in_any_order(request, read, engine):
    codes = np.arange(N_ROWS) % 5
    want = compute(read().X, GroupMoments(codes, 5), SetSums(MEMBER))
    with scanpy_oom.engine(request.getfixturevalue(engine)):
        found = compute(read().X, Late(codes, 5), SetSums(MEMBER))
    assert_same_bits(found, want, [GroupMoments(codes, 5), SetSums(MEMBER)])


def test_requests_of_one_pass_share_what_is_read(client, read):
    def found():
        x = read().X
        log = CHAINS["normalised"](np.random.default_rng(0), x.shape)(x)
        few = log.select(None, np.arange(60))
        asked = [[AxisStatistics(), GroupMoments(np.arange(N_ROWS) % 2, 2)], [Gram()], [SetSums(MEMBER[:60])]]
        return run([Request(m, some) for m, some in zip((x, log, few), asked, strict=True)]), asked

    want, asked = found()
    with scanpy_oom.engine(client):
        results, _ = found()
    assert last_pass().reductions == ("AxisStatistics", "GroupMoments", "Gram", "SetSums")
    assert 0 < last_pass().bytes_read < 1.2 * read().X.source.nbytes
    for a, b, some in zip(results, want, asked, strict=True):
        assert_same_bits(a, b, some)


def test_totals_of_rows_are_found_once_and_stay_with_the_client(client, read):
    x = matrix(read, "normalised", "shuffled")
    (totals,) = x.chain.totals
    assert np.isnan(totals.values).all()
    with scanpy_oom.engine(client):
        compute(x, AxisStatistics())
    np.testing.assert_array_equal(totals.values, read().X.to_memory().astype(float).sum(axis=1).A1)


def normalised_and_joined(read: Read) -> ad.AnnData:
    """Two files whose rows are divided by totals that are not known, the second in another order; one row is empty."""
    parts = [read(), read()[::-1].copy()]
    for part in parts:
        sc.pp.normalize_total(part, target_sum=1e4)
    return ad.concat(parts, index_unique="-")


@pytest.mark.parametrize("some", [slice(None), slice(10, None, 3)])
def test_totals_of_files_that_are_joined_stay_with_the_client_which_warns_of_empty_cells(client, read, some):
    adata, want = normalised_and_joined(read)[some], normalised_and_joined(read)[some]
    is_told = lambda: (
        pytest.warns(UserWarning, match="Some cells have zero counts") if some == slice(None) else nullcontext()
    )
    with is_told():
        expected = compute(want.X, AxisStatistics())
    with scanpy_oom.engine(client), is_told():
        found = compute(adata.X, AxisStatistics())
    assert last_pass().device == "2 Dask workers"
    assert_same_bits([found], [expected], [AxisStatistics()])
    for ours, theirs in zip(adata.X.source.parts, want.X.source.parts, strict=True):
        (own,), (other,) = ours.matrix.chain.totals, theirs.matrix.chain.totals
        np.testing.assert_array_equal(own.values, other.values)
    if some == slice(None):
        assert not any(
            np.isnan(totals.values).any() for part in adata.X.source.parts for totals in part.matrix.chain.totals
        )


def test_large_partial_results_are_merged_in_the_same_groups(client, read):
    codes = np.arange(N_ROWS)
    assert 24 * N_ROWS * N_COLUMNS > LARGE
    for make in (lambda: GroupMoments(codes, N_ROWS), lambda: GroupWelford(codes, N_ROWS)):
        want = compute(read().X, make())
        with scanpy_oom.engine(client):
            found = compute(read().X, make())
        assert_same_bits([found], [want], [make()])
        assert last_pass().device == "2 Dask workers"


def patched(read: Read) -> OOMMatrix:
    x = read().X
    x[3, 5] = 9
    return x


def by_columns(read: Read, tmp_path: Path) -> OOMMatrix:
    adata = annotated(sparse.csc_matrix(counts(400, 30)))
    adata.write_h5ad(tmp_path / "csc.h5ad")
    return sc.read_h5ad(tmp_path / "csc.h5ad", backed="oom").X


STAY = {
    "memory": (lambda read, _: oom(counts(400, 30)), "values that are in memory or scratch space of this process"),
    "patched": (lambda read, _: patched(read), "values that are in memory or scratch space of this process"),
    "by columns": (by_columns, "a matrix that is stored by columns"),
    "transposed": (lambda read, _: read().X.T, "a transposed matrix"),
    "few columns": (lambda read, _: read().X.select(None, np.arange(7)), "few columns"),
}


@pytest.mark.parametrize("name", STAY)
def test_passes_that_must_stay_here_do_and_say_why(client, read, tmp_path, name):
    make, reason = STAY[name]
    want = compute(make(read, tmp_path), AxisStatistics())
    with scanpy_oom.engine(client):
        found = compute(make(read, tmp_path), AxisStatistics())
    assert (last_pass().device, last_pass().why_not_on_device) == ("cpu", reason)
    assert last_pass().workers == ()
    assert_same_bits([found], [want], [AxisStatistics()])


def test_what_cannot_be_pickled_is_computed_here_and_explained_as_such(client, read):
    x = read().X
    want = compute(x, AxisStatistics())
    with scanpy_oom.engine(client):
        found = compute(read().X, Unsendable())
        assert last_pass().why_not_on_device == "what cannot be sent (it holds a lock)"
        planned = executor().distribution(Step([Request(x, [Unsendable()])]))
    assert planned == Distribution("", why_here="what cannot be sent (it holds a lock)")
    assert_same_bits([found], [want], [AxisStatistics()])


@pytest.mark.parametrize("how", [{}, {"compression": "gzip"}, {"compression": "lzf"}], ids=str)
def test_a_file_is_written_here_of_what_workers_compute(client, read, tmp_path, how):
    adata = read()
    sc.pp.log1p(adata)
    with scanpy_oom.engine(client):
        adata.write_h5ad(tmp_path / "out.h5ad", **how)
    assert last_pass().device == "2 Dask workers"
    np.testing.assert_array_equal(sc.read_h5ad(tmp_path / "out.h5ad").X.data, np.log1p(read().to_memory().X.data))


def test_a_zarr_store_is_written_by_the_workers_and_is_that_of_threads(client, read, tmp_path, monkeypatch):
    monkeypatch.setattr(write_parts, "PART", 80_000)
    monkeypatch.setattr(matrix_writer, "CHUNK", 5_000)
    files = []
    for engine in ("threads", client):
        adata = read()[::2, 60:10:-1].copy()
        sc.pp.log1p(adata)
        with scanpy_oom.engine(engine):
            adata.write_zarr(tmp_path / "out.zarr")
        store = tmp_path / "out.zarr" / "X"
        files.append({path.relative_to(store): path.read_bytes() for path in store.rglob("*") if path.is_file()})
        shutil.rmtree(tmp_path / "out.zarr")
    assert last_pass().device == "2 Dask workers"
    assert len(last_pass().workers) == 2
    assert files[0] == files[1]


def test_rows_in_another_order_are_written_by_this_process_which_says_why(client, read, tmp_path):
    with scanpy_oom.engine(client):
        read()[::-1].write_h5ad(tmp_path / "out.h5ad")
    assert last_pass().why_not_on_device.startswith("writing rows in another order")
    np.testing.assert_array_equal(sc.read_h5ad(tmp_path / "out.h5ad").X.data, read().to_memory().X[::-1].data)


def test_a_matrix_without_rows_needs_no_worker(client, read):
    with scanpy_oom.engine(client):
        assert read().X.select(np.arange(0)).sum() == 0
