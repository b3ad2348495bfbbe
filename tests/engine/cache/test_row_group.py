from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import sparse

from scanpy_oom.engine.cache.row_group import Counts, encode

NONE = np.empty(0, dtype=bool), np.empty(0, dtype=np.int32)


def round_trip(block):
    """Encode and decode a block; return what comes out, and how it was encoded."""
    indptr, indices = block.indptr.astype(np.int64), block.indices.astype(np.int32)
    content, form = encode(indptr, indices, block.data, block.shape[1])
    lengths = np.empty(block.shape[0], dtype=np.int64)
    columns, values = np.empty(block.nnz, dtype=np.int32), np.empty(block.nnz)
    n = form.decode(memoryview(content), np.diff(indptr).astype(np.int32), *NONE, lengths, columns, values)
    assert n == block.nnz
    return sparse.csr_matrix((values, columns, np.append(0, np.cumsum(lengths))), shape=block.shape), content, form


@given(
    seed=st.integers(0, 2**32 - 1), density=st.sampled_from([0.0, 0.02, 0.3, 1.0]), most=st.sampled_from([1, 9, 999])
)
def test_counts_come_out_as_they_went_in(seed, density, most):
    rng = np.random.default_rng(seed)
    block = sparse.random(7, 300, density, format="csr", dtype=np.float32, random_state=rng)
    block.data[:] = rng.integers(1, most + 1, block.nnz)
    found, content, form = round_trip(block)
    np.testing.assert_array_equal(found.toarray(), block.toarray())
    assert isinstance(form, Counts)
    assert form.compressed or len(content) == form.layout.nbytes


@pytest.mark.parametrize(("most", "compressed"), [(1, False), (999, True)])
def test_a_code_of_a_byte_an_entry_is_not_compressed(most, compressed):
    rng = np.random.default_rng(0)
    block = sparse.random(100, 300, 0.2, format="csr", dtype=np.float32, random_state=rng)
    block.data[:] = rng.integers(1, most + 1, block.nnz)
    _, content, form = round_trip(block)
    assert form.compressed == compressed
    assert (len(content) < form.layout.nbytes) == compressed
