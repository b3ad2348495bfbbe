from __future__ import annotations

from weakref import ref

import numpy as np

from scanpy_oom import to_oom
from scanpy_oom.engine.runtime import pass_log
from scanpy_oom.queries.answers import ENGINE

from ..matrices import counts


def test_counts_follow_from_removed_rows_when_sums_alone_became_known_in_between():
    matrix = counts(300, 20)
    x = to_oom(matrix)
    ENGINE.statistics(x, "col_npos")
    some = x.select(np.arange(1, 300))
    some.statistics.known |= {"col_sum": np.zeros(20), "col_sumsq": np.zeros(20)}
    found = ENGINE.statistics(some.select(np.arange(1, 299)), "col_npos").known["col_npos"]
    np.testing.assert_array_equal(found, (matrix[2:] > 0).sum(axis=0).A1)
    assert pass_log.recent()[-1].n_rows == 2


def test_matrices_from_which_rows_were_removed_long_ago_are_not_kept():
    matrix = counts(200, 20)
    x = to_oom(matrix)
    first = ref(x)
    for _ in range(100):
        ENGINE.statistics(x, "col_npos", "col_nnz")
        x = x.select(np.arange(1, x.shape[0]))
    assert first() is None
    found = ENGINE.statistics(x, "col_npos").known["col_npos"]
    np.testing.assert_array_equal(found, (matrix[100:] > 0).sum(axis=0).A1)
    assert pass_log.recent()[-1].n_rows == 1
