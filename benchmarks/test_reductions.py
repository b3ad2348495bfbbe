"""Every reduction: one pass over a file, and over the compact copy that a pass has left."""

from __future__ import annotations

import anndata as ad
import numpy as np
import pytest

from scanpy_oom import reductions
from scanpy_oom.engine.compute import run
from scanpy_oom.engine.reduction import Reduction
from scanpy_oom.engine.request import Request
from scanpy_oom.reductions.pearson import PearsonModel

N_CELLS, N_GENES, K = 8_000, 20_000, 50
RNG = np.random.default_rng(0)
DRAWN = np.sort(RNG.choice(1_000_000, 500_000, replace=False))


def pearson_model():
    """Make up a model with as many distinct totals as counts have."""
    totals, sums = RNG.integers(500, 5_000, N_CELLS).astype(float), RNG.integers(1, 10_000, (1, N_GENES)).astype(float)
    one_batch = np.zeros(N_CELLS, dtype=np.int64)
    return PearsonModel(one_batch, totals, sums, sums.sum(axis=1), theta=100.0, clip=N_CELLS**0.5, single=False)


CASES = {
    "AxisStatistics": lambda codes: reductions.AxisStatistics(),
    "ClassSums": lambda codes: reductions.ClassSums(),
    "CollectSparse": lambda codes: reductions.CollectSparse("benchmark"),
    "ColumnExtrema": lambda codes: reductions.ColumnExtrema(),
    "ColumnMeans": lambda codes: reductions.ColumnMeans(),
    "DownsampleRows": lambda codes: reductions.DownsampleRows(
        np.full(N_CELLS, 1000), seed=0, replace=False, sum_dtype=np.dtype(np.float32)
    ),
    "DownsampleTotal": lambda codes: reductions.DownsampleTotal(DRAWN, None),
    "Gram": lambda codes: reductions.Gram(),
    "GramProduct": lambda codes: reductions.GramProduct(RNG.random((N_GENES, K)), None),
    "GroupClippedSums": lambda codes: reductions.GroupClippedSums(codes, np.full((codes.max() + 1, N_GENES), 3.0)),
    "GroupMedians": lambda codes: reductions.GroupMedians(codes, codes.max() + 1),
    "GroupMoments": lambda codes: reductions.GroupMoments(codes, codes.max() + 1),
    "GroupRanks": lambda codes: reductions.GroupRanks(codes, codes.max() + 1),
    "GroupWelford": lambda codes: reductions.GroupWelford(codes, codes.max() + 1),
    "HighlyExpressed": lambda codes: reductions.HighlyExpressed(0.05),
    "LeftProduct": lambda codes: reductions.LeftProduct(RNG.random((N_CELLS, K))),
    "MapRows": lambda codes: reductions.MapRows(lambda rows: np.asarray(rows.sum(axis=1)).ravel()),
    "PearsonVariances": lambda codes: reductions.PearsonVariances(pearson_model()),
    "RightProduct": lambda codes: reductions.RightProduct(RNG.random((N_GENES, K))),
    "SetSums": lambda codes: reductions.SetSums(RNG.random((N_GENES, 3)) < 0.05),
    "RunningSum": lambda codes: reductions.RunningSum(),
    "TopSums": lambda codes: reductions.TopSums(np.array([50, 100, 200, 500])),
}

VARIABLE = {"Gram"}
"""Reductions that are not for all genes: they are measured on 2,000."""


def test_every_reduction_is_measured():
    classes = (getattr(reductions, name) for name in reductions.__all__)
    found = [c.__name__ for c in classes if isinstance(c, type) and issubclass(c, Reduction) and c is not Reduction]
    assert sorted(found) == sorted(CASES)


def opened(file, name):
    matrix = ad.read_h5ad(file, backed="oom").X
    return matrix.select(columns=np.arange(2000)) if name in VARIABLE else matrix


@pytest.mark.parametrize("name", sorted(CASES))
def test_pass_over_the_file(name, counts_file, codes, benchmark):
    """From opening the file: nothing is known of it, and a compact copy is left."""
    benchmark.pedantic(
        lambda: run([Request(opened(counts_file, name), [CASES[name](codes)])]), rounds=3, warmup_rounds=1
    )


@pytest.mark.parametrize("name", sorted(CASES))
def test_pass_over_the_compact_copy(name, counts_file, codes, benchmark):
    matrix = opened(counts_file, name)
    run([Request(matrix, [reductions.AxisStatistics()])], reuse=True)
    benchmark.pedantic(lambda: run([Request(matrix, [CASES[name](codes)])]), rounds=3, warmup_rounds=1)
