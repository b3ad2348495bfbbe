from __future__ import annotations

import numpy as np
from hypothesis import given
from scipy import sparse

from scanpy_oom.kernels import (
    accumulate_gram_dense,
    accumulate_gram_pairs,
    left_product,
    reference,
    right_product,
    unpack_symmetric,
)
from scanpy_oom.kernels.gram import BAND, N_DENSE_COLUMNS, dense_is_cheaper

from .strategies import blocks


def arrays(block):
    return block.indptr.astype(np.int64), block.indices.astype(np.int32), block.data.astype(np.float64)


def gram_of(accumulate, block):
    """The Gram matrix of a block's columns, twice added to zeros and halved: what is there is added to."""
    n = block.shape[1]
    packed, gram = np.zeros(n * (n + 1) // 2), np.empty((n, n))
    for _ in range(2):
        accumulate(*arrays(block), n, packed)
    unpack_symmetric(packed / 2, gram)
    return gram


def close(gram, want):
    np.testing.assert_allclose(gram, want, rtol=1e-12, atol=1e-12 * max(np.abs(want).max(initial=0), 1))


@given(block=blocks())
def test_gram_of_pairs_equals_reference(block):
    close(gram_of(accumulate_gram_pairs, block), reference.gram(block.toarray().astype(float)))


@given(block=blocks())
def test_gram_by_blas_equals_reference(block):
    close(gram_of(accumulate_gram_dense, block), reference.gram(block.toarray().astype(float)))


def test_gram_by_blas_crosses_bands():
    block = sparse.random(40, 2 * N_DENSE_COLUMNS + 5, 0.3, format="csr", random_state=0)
    close(gram_of(accumulate_gram_dense, block), reference.gram(block.toarray()))


def test_gram_of_pairs_crosses_bands_and_takes_unsorted_and_repeated_columns():
    rng = np.random.default_rng(0)
    n = 3 * BAND + 5
    block = sparse.random(40, n, 0.3, format="csr", random_state=0)
    order = np.concatenate(
        [rng.permutation(np.arange(a, b)) for a, b in zip(block.indptr, block.indptr[1:], strict=False)]
    )
    shuffled = sparse.csr_matrix((block.data[order], block.indices[order], block.indptr), shape=block.shape)
    for matrix in (block, shuffled):
        close(gram_of(accumulate_gram_pairs, matrix), reference.gram(block.toarray()))
    repeated = sparse.csr_matrix((np.array([1.0, 2.0, 4.0]), np.array([1, 0, 1]), np.array([0, 3])), shape=(1, 2))
    close(gram_of(accumulate_gram_pairs, repeated), np.array([[4.0, 10.0], [10.0, 25.0]]))


def test_dense_rows_are_given_to_blas_and_sparse_ones_are_not():
    assert dense_is_cheaper(np.arange(0, 2001 * 10, 2000), 2000)
    assert not dense_is_cheaper(np.arange(0, 20 * 10, 20), 2000)


@given(block=blocks())
def test_products_equal_scipy(block):
    rng = np.random.default_rng(0)
    right, left = rng.random((block.shape[1], 3)), rng.random((block.shape[0], 2))
    out = np.empty((block.shape[0], 3))
    right_product(*arrays(block), right, out)
    np.testing.assert_allclose(out, block.toarray().astype(float) @ right, rtol=1e-12, atol=1e-12)
    out = np.zeros((block.shape[1], 2))
    left_product(*arrays(block), left, out)
    np.testing.assert_allclose(out, block.toarray().astype(float).T @ left, rtol=1e-12, atol=1e-12)
