"""What runs on a GPU, on NumPy's arrays: equal to the numba kernels, on any matrix and chain."""

from __future__ import annotations

import sys
from dataclasses import fields

import numpy as np
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from scanpy_oom.engine.compute import run
from scanpy_oom.engine.reduction import Reduction
from scanpy_oom.engine.request import Request
from scanpy_oom.engine.runtime import pass_log
from scanpy_oom.matrix import OOMMatrix
from scanpy_oom.matrix.transforms import ByColumn, ByRow, Cast, Elementwise, NormalizeTotal, RowTotals
from scanpy_oom.matrix.transforms.low_rank import Combine, LowRank
from scanpy_oom.matrix.transforms.pearson import PearsonResiduals
from scanpy_oom.matrix.transforms.scale import Scale
from scanpy_oom.reductions import (
    AxisStatistics,
    ClassSums,
    ColumnExtrema,
    ColumnMeans,
    Gram,
    GramProduct,
    GroupClippedSums,
    GroupMedians,
    GroupMoments,
    GroupRanks,
    GroupWelford,
    HighlyExpressed,
    LeftProduct,
    PearsonModel,
    PearsonVariances,
    RightProduct,
    SetSums,
    TopSums,
)
from scanpy_oom.reductions.axis_statistics import StoredCounts
from scanpy_oom.reductions.extrema import ExtremaReduction
from scanpy_oom.reductions.rowwise import RowDeviations, RowExtrema
from scanpy_oom.settings import settings as oom_settings
from scanpy_oom.storage.sources.memory import MemorySource

from ..kernels.strategies import blocks

DOUBLE, SINGLE = np.dtype(np.float64), np.dtype(np.float32)

CLOSE = {"rtol": 1e-11, "atol": 1e-11}
"""Of double precision, where values are added in another order."""


@pytest.fixture(autouse=True)
def _room():
    """Ranks take more than what a busy machine may have left by default."""
    oom_settings.memory_limit = 10**9


def in_device(name, function):
    before, oom_settings.device = oom_settings._device, name
    try:
        return function()
    finally:
        oom_settings.device = before


def by_rows(rng, n):
    totals = RowTotals(np.full(n, np.nan), np.empty(0, dtype=bool))
    return lambda m: m.transform(NormalizeTotal(totals, 10.0)).transform(Elementwise("log1p"))


def scaled(rng, shape, masked, dense):
    mean, std = rng.uniform(0, 2, shape[1]), rng.uniform(0.5, 2, shape[1])
    mask = rng.random(shape[0]) < 0.5 if masked else None
    return lambda m: m.transform(Elementwise("log1p")).transform(Scale(mean, std, 1.0, mask, m.dtype, dense=dense))


def regressed(rng, shape):
    rows, columns = rng.random((shape[0], 2)), rng.random((2, shape[1]))
    return lambda m: m.transform(Elementwise("log1p")).transform(
        Combine("subtract", LowRank(rows, columns), SINGLE, "x")
    )


def corrected(rng, shape):
    mask, codes = rng.random(shape[0]) < 0.5, rng.integers(0, 3, shape[0])
    scale = Scale(rng.random(shape[1]), np.ones(shape[1]), None, mask, SINGLE, dense=True)
    by_group = Combine("multiply", LowRank(codes, rng.random((3, shape[1]))), DOUBLE, "x")
    return lambda m: m.transform(scale).transform(by_group).transform(ByRow("multiply", rng.random(shape[0]), DOUBLE))


def residuals(rng, shape, single):
    cells, genes = rng.uniform(1, 9, shape[0]), rng.uniform(1, 9, shape[1])
    return lambda m: m.transform(PearsonResiduals(cells, genes, 50.0, 100.0, 3.0, single=single))


def factors(rng, shape):
    row, column = ByRow("multiply", rng.random(shape[0]), DOUBLE), ByColumn("multiply", rng.random(shape[1]), DOUBLE)
    return lambda m: m.transform(row).transform(column).transform(Cast(np.dtype(np.int32)))


CHAINS = {
    "counts": lambda rng, shape: lambda m: m,
    "normalised": lambda rng, shape: by_rows(rng, shape[0]),
    "scaled": lambda rng, shape: scaled(rng, shape, masked=False, dense=True),
    "masked": lambda rng, shape: scaled(rng, shape, masked=True, dense=False),
    "not zero": lambda rng, shape: lambda m: m.transform(Elementwise("not_equal", 0.0)),
    "regressed": regressed,
    "corrected": corrected,
    "residuals": lambda rng, shape: residuals(rng, shape, single=True),
    "residuals in double precision": lambda rng, shape: residuals(rng, shape, single=False),
    "factors": factors,
}


@st.composite
def matrices(draw):
    """A function that makes the same lazy matrix anew, since totals are kept by those that know them; and its shape."""
    block = draw(blocks(max_rows=14, max_columns=8, negative=draw(st.booleans())))
    kind, seed = draw(st.sampled_from(sorted(CHAINS))), draw(st.integers(0, 1000))
    rng = np.random.default_rng(seed)
    n_rows, n_columns = block.shape
    rows = rng.integers(0, n_rows, draw(st.integers(1, 12))) if draw(st.booleans()) and n_rows else None
    columns = rng.permutation(n_columns)[: draw(st.integers(1, n_columns))] if draw(st.booleans()) else None

    def make():
        whole = OOMMatrix.from_source(MemorySource(block.copy()))
        return CHAINS[kind](np.random.default_rng(seed), block.shape)(whole).select(rows, columns)

    return make


def reductions(matrix):
    """One of each kind, with whether the results are equal to the last bit."""
    rng = np.random.default_rng(0)
    n_rows, n_columns = matrix.shape
    codes, all_in = rng.integers(-1, 3, n_rows), rng.integers(0, 3, n_rows)
    left, right, mean = rng.random((n_rows, 2)), rng.random((n_columns, 3)), rng.random(n_columns)
    filled = matrix.chain.filling is not None
    exact = not filled and matrix.chain.fill_values is None
    yield AxisStatistics(), exact
    yield StoredCounts(), True
    yield GroupMoments(codes, 3), not filled
    yield SetSums(rng.random((n_columns, 2)) < 0.5), exact
    yield TopSums(np.arange(1, n_columns + 1)), not filled
    yield RowExtrema(), not filled
    yield ColumnExtrema(), not filled
    yield RowDeviations(), False
    yield HighlyExpressed(0.4), not filled
    yield ExtremaReduction(), not filled
    yield RightProduct(right, np.ones(3)), False
    yield RightProduct(right, None, np.float32), False
    yield LeftProduct(left), False
    yield Gram(), False
    yield ClassSums(), not filled
    yield GramProduct(right, mean), False
    yield GramProduct(right, None), False
    yield GroupClippedSums(codes, rng.uniform(0, 3, (3, n_columns))), not filled
    yield GroupWelford(codes, 3), False
    yield ColumnMeans(np.float64), not filled
    yield GroupRanks(all_in, 3), not filled
    yield GroupRanks(all_in, 3, 1), not filled


def arrays(result):
    """All numbers of a result."""
    if isinstance(result, np.ndarray | np.generic | float | bool | int):
        return [np.asarray(result)]
    if isinstance(result, list | tuple):
        return [array for part in result for array in arrays(part)]
    if hasattr(result, "known"):
        return list(result.known.values())
    names = getattr(result, "__slots__", None) or vars(result)
    return [array for name in names for array in arrays(getattr(result, name))]


def assert_equal(found, want, exact, what):
    assert len(arrays(found)) == len(arrays(want))
    for a, b in zip(arrays(found), arrays(want), strict=True):
        assert a.dtype == b.dtype, what
        if exact:
            np.testing.assert_array_equal(a, b, err_msg=what)
        else:
            tolerance = {"rtol": 1e-5, "atol": 1e-5} if a.dtype == np.float32 else CLOSE
            scale = np.nanmax(np.abs(b), initial=1.0, where=np.isfinite(b))
            np.testing.assert_allclose(a / scale, b / scale, err_msg=what, **tolerance)


def on_device(matrix, asked):
    results = in_device("numpy", lambda: run([Request(matrix, asked)])[0])
    last = pass_log.recent()[-1]
    assert (last.device, last.why_not_on_device) == ("numpy", ""), asked
    return results


PRODUCTS = (RightProduct, LeftProduct, Gram, GramProduct)
OF_VALUES = (*PRODUCTS, ClassSums, SetSums, RowExtrema, ColumnExtrema, ColumnMeans, GroupClippedSums)


@settings(max_examples=150, phases=[Phase.explicit, Phase.reuse, Phase.generate])
@given(make=matrices())
@pytest.mark.filterwarnings("ignore::UserWarning", "ignore::RuntimeWarning")
def test_every_array_implementation_equals_the_kernels(make):
    matrix = make()
    wanted, asked = list(zip(*reductions(matrix), strict=True)), [r for r, _ in reductions(matrix)]
    if not matrix.shape[0]:
        asked = [r for r in asked if not isinstance(r, GroupRanks)]
    want, found = run([Request(matrix, list(wanted[0][: len(asked)]))])[0], on_device(make(), asked)
    finite = np.isfinite(matrix.toarray()).all()
    for reduction, exact, a, b in zip(asked, wanted[1], found, want, strict=False):
        if not finite and isinstance(reduction, PRODUCTS):
            continue  # what is no number spreads by the order in which it is multiplied
        if matrix.chain.filling is None or isinstance(reduction, OF_VALUES):
            # values that fill a block may differ by their last bit, and what counts or compares them by more
            assert_equal(a, b, exact, type(reduction).__name__)


def kinds(of=Reduction):
    """All classes of reductions."""
    for kind in of.__subclasses__():
        yield kind
        yield from kinds(kind)


def test_all_array_implementations_are_tested():
    matrix = OOMMatrix.from_source(MemorySource(np.ones((3, 3))))
    tested = {type(r) for r, _ in reductions(matrix)} | {PearsonVariances}
    assert tested == {kind for kind in kinds() if kind.on_arrays is not None}


def test_a_subclass_has_no_array_implementation_unless_it_says_so():
    assert GroupRanks.on_arrays is not None
    assert GroupMedians.on_arrays is None


def test_specs_are_frozen_and_documented():
    for kind in kinds():
        if kind.on_arrays is not None and kind.__annotations__.get("spec"):
            spec = getattr(sys.modules[kind.__module__], kind.__annotations__["spec"])
            assert spec.__dataclass_params__.frozen
            assert all(f"{field.name}\n" in spec.__doc__ or f"{field.name}," in spec.__doc__ for field in fields(spec))


@settings(max_examples=40)
@given(block=blocks(max_rows=14, max_columns=8, negative=False), single=st.booleans(), n_batches=st.integers(1, 3))
def test_variances_of_pearson_residuals_equal_those_of_the_kernels(block, single, n_batches):
    x = block.toarray().astype(np.float64)
    codes = np.arange(x.shape[0]) % n_batches
    genes = np.stack([x[codes == batch].sum(axis=0) for batch in range(n_batches)])
    model = PearsonModel(codes, x.sum(axis=1), genes, genes.sum(axis=1), 100.0, 2.0, single)

    def found():
        with np.errstate(all="ignore"):
            return run([Request(OOMMatrix.from_source(MemorySource(block.copy())), [PearsonVariances(model)])])[0][0]

    np.testing.assert_allclose(in_device("numpy", found), found(), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("kind", ["normalised", "scaled", "masked"])
def test_results_do_not_depend_on_the_size_of_blocks(monkeypatch, kind):
    from ..matrices import counts

    x = counts(2500, 60, density=0.5)
    codes = np.arange(2500) % 3

    def found():
        matrix = CHAINS[kind](np.random.default_rng(0), x.shape)(OOMMatrix.from_source(MemorySource(x)))
        asked = [AxisStatistics(), GroupMoments(codes, 3), TopSums(np.array([5, 20])), ClassSums()]
        return on_device(matrix, asked)

    want = found()
    monkeypatch.setattr("scanpy_oom.engine.device.executor.LARGEST_BLOCK", 2000)
    for a, b in zip(arrays(found()), arrays(want), strict=True):
        np.testing.assert_array_equal(a, b)
