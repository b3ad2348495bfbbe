from __future__ import annotations

import numpy as np
import pytest

from scanpy_oom.storage.matrix_writer import CompressedRows


class Nowhere:
    """Takes what is appended, and leaves it."""

    def append(self, values):
        pass

    def close(self):
        pass


@pytest.mark.parametrize(
    ("longest", "asked", "found"),
    [(2**31 - 3, None, "int32"), (2**31 - 2, None, "int64"), (2**31, "int64", "int64"), (5, "int64", "int64")],
)
def test_where_rows_start_is_held_in_64_bits_where_32_do_not_do(longest, asked, found):
    rows = CompressedRows(Nowhere(), Nowhere(), 3, asked)
    rows.append(np.array([0, longest, longest]), np.empty(0, np.int32), np.empty(0))
    rows.append(np.array([0, 2]), np.empty(0, np.int32), np.empty(0))
    indptr = rows.close()
    assert indptr.dtype == found
    np.testing.assert_array_equal(indptr, [0, longest, longest, longest + 2])
