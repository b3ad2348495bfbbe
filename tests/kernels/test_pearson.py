from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scanpy_oom import kernels
from scanpy_oom.kernels import reference

from .strategies import blocks


def sums_of(dense):
    return dense.sum(axis=1), dense.sum(axis=0), dense.sum()


@given(block=blocks(negative=False), theta=st.sampled_from([0.5, 100.0, np.inf]), single=st.booleans())
def test_residuals_equal_reference_to_the_last_bit(block, theta, single):
    dense = block.toarray().astype(np.float64)
    out = np.empty_like(dense)
    kernels.pearson_residuals(dense, *sums_of(dense), theta, single, out)
    want = reference.pearson_residuals(dense, *sums_of(dense), theta, np.float32 if single else np.float64)
    np.testing.assert_array_equal(out, want)


@given(
    block=blocks(negative=False),
    theta=st.sampled_from([0.5, 100.0]),
    clip=st.sampled_from([0.0, 0.3, 5.0, np.inf]),
    n_batches=st.integers(1, 3),
)
def test_zeros_and_deviations_from_them_sum_up_to_the_clipped_residuals(block, theta, clip, n_batches):
    dense = block.toarray().astype(np.float64)
    codes = np.arange(dense.shape[0]) % n_batches
    groups = [dense[codes == k] for k in range(n_batches)]
    genes = np.stack([group.sum(axis=0) for group in groups])
    grand = genes.sum(axis=1)
    deviations = np.zeros((n_batches, dense.shape[1], 2))
    indptr, indices, values = block.indptr.astype(np.int64), block.indices, block.data.astype(np.float64)
    cells = dense.sum(axis=1)
    kernels.pearson_deviations(indptr, indices, values, codes, cells, genes, grand, theta, clip, False, deviations)
    for k, group in enumerate(groups):
        totals, weights = np.unique(cells[codes == k], return_counts=True)
        zeros = np.empty((2, dense.shape[1]))
        kernels.pearson_zeros(genes[k], totals, weights.astype(float), grand[k], theta, clip, False, zeros)
        if grand[k] == 0:
            continue
        residuals = reference.pearson_residuals(group, group.sum(axis=1), genes[k], grand[k], theta, np.float64)
        clipped = np.clip(residuals, -clip, clip)
        scale = 1 + np.nanmax(np.abs(clipped), initial=0) ** 2
        found = zeros.T + deviations[k]
        np.testing.assert_allclose(found[:, 0], clipped.sum(axis=0), rtol=1e-9, atol=1e-9 * scale)
        np.testing.assert_allclose(found[:, 1], (clipped**2).sum(axis=0), rtol=1e-9, atol=1e-9 * scale)


@pytest.mark.parametrize("single", [True, False])
def test_products_of_sums_are_rounded_where_scanpy_s_are(single):
    gene, cell = 16_777_215.0, 4097.0
    zeros = np.empty((2, 1))
    kernels.pearson_zeros(np.array([gene]), np.array([cell]), np.ones(1), 1.0, np.inf, np.inf, single, zeros)
    product = np.float64(np.float32(gene) * np.float32(cell)) if single else gene * cell
    assert zeros[0, 0] == -product / np.sqrt(product)
    assert np.float64(np.float32(gene) * np.float32(cell)) != gene * cell
