from __future__ import annotations

import numpy as np

from scanpy_oom import to_oom
from scanpy_oom.passes import ENGINE, record

from ..matrices import counts


def test_counts_follow_from_removed_rows_when_sums_alone_became_known_in_between():
    matrix = counts(300, 20)
    x = to_oom(matrix)
    ENGINE.statistics(x, "col_npos")
    some = x.select(np.arange(1, 300))
    some.statistics.known |= {"col_sum": np.zeros(20), "col_sumsq": np.zeros(20)}
    found = ENGINE.statistics(some.select(np.arange(1, 299)), "col_npos").known["col_npos"]
    np.testing.assert_array_equal(found, (matrix[2:] > 0).sum(axis=0).A1)
    assert record.recent()[-1].n_rows == 2
