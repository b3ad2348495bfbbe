"""One of each reduction, and whether two results are the same to the last bit."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from scipy import sparse

from scanpy_oom.engine.reduction import Reduction
from scanpy_oom.engine.runtime import pass_log
from scanpy_oom.matrix import OOMMatrix
from scanpy_oom.reductions import CollectSparse, GroupMedians, PearsonModel, PearsonVariances, RunningSum
from scanpy_oom.reductions.collect import CollectDense, Nothing, SparseProduct
from scanpy_oom.reductions.write_parts import StoredLengths

from ..test_array_implementation import arrays, reductions

__all__ = ["assert_same_bits", "last_pass", "one_of_each"]


def one_of_each(matrix: OOMMatrix) -> Iterator[Reduction]:
    """Every reduction that another process may compute, for a matrix."""
    yield from (reduction for reduction, _ in reductions(matrix))
    n_rows, n_columns = matrix.shape
    rng = np.random.default_rng(1)
    yield GroupMedians(rng.integers(-1, 3, n_rows), 3)
    genes = rng.uniform(1, 9, (2, n_columns))
    model = PearsonModel(np.arange(n_rows) % 2, rng.uniform(1, 9, n_rows), genes, genes.sum(axis=1), 100.0, 3.0, True)
    yield PearsonVariances(model)
    yield RunningSum()
    yield CollectSparse("the test")
    yield CollectDense("the test")
    yield SparseProduct(sparse.random(n_columns, 5, 0.3, format="csr", random_state=0))
    yield Nothing()
    yield StoredLengths()


def numbers(result: Any) -> list[np.ndarray]:
    """All numbers of a result."""
    if sparse.issparse(result):
        return [result.indptr, result.indices, result.data]
    return [] if result is None else arrays(result)


def assert_same_bits(found: Sequence[Any], want: Sequence[Any], of: Sequence[Reduction]) -> None:
    """Assert that results of reductions are equal to the last bit, and of the same types."""
    for a, b, reduction in zip(found, want, of, strict=True):
        assert type(a) is type(b)
        for x, y in zip(numbers(a), numbers(b), strict=True):
            assert x.dtype == y.dtype
            np.testing.assert_array_equal(x, y, err_msg=type(reduction).__name__)


def last_pass() -> pass_log.PassRecord:
    """The pass that was made last."""
    return pass_log.recent()[-1]
