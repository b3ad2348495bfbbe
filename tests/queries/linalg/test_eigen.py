from __future__ import annotations

import numpy as np
import pytest

from scanpy_oom.queries.linalg.eigen import GramOperator, leading_eigenpairs

N, K = 400, 30


class Symmetric(GramOperator):
    """A matrix with given eigenvalues, which counts how often it is applied."""

    def __init__(self, values: np.ndarray) -> None:
        basis = np.linalg.qr(np.random.default_rng(0).standard_normal((N, N)))[0]
        self.gram = (basis * values) @ basis.T
        self.shape, self.mean, self.n_products = (N, N), None, 0

    def __matmul__(self, dense):
        self.n_products += 1
        assert self.n_products < 300
        return self.gram @ dense


def spectrum(first, rest=0.0):
    return np.append(first, np.full(N - len(first), rest))


@pytest.mark.parametrize("max_basis", [1, 150, 10**6])
@pytest.mark.parametrize(
    "values",
    [
        spectrum(np.linspace(10, 1, 5)),
        spectrum(np.linspace(10, 1, 29)),
        spectrum(np.linspace(10, 1, 35)),
        np.exp(-np.arange(N)),
        1 / (1 + np.arange(N)),
        spectrum(np.full(25, 5.0), 0.1),
        spectrum(np.full(40, 5.0), 1.0),
        np.ones(N),
        np.zeros(N),
    ],
    ids=["rank 5", "rank 29", "rank 35", "steep", "slow", "25 alike", "40 alike", "all alike", "nothing"],
)
def test_products_with_narrow_blocks_give_the_leading_eigenvalues(values, max_basis):
    gram = Symmetric(values)
    found = leading_eigenpairs(gram, K, np.random.RandomState(0), max_basis)
    want = np.sort(values)[::-1][:K]
    np.testing.assert_allclose(found.singular_values**2, want, rtol=1e-9, atol=1e-12 * max(want[0], 1))
    np.testing.assert_allclose(found.components @ found.components.T, np.eye(K), atol=1e-10)
    error = gram.gram @ found.components.T - found.components.T * found.singular_values**2
    assert np.linalg.norm(error, axis=0).max() <= 1e-7 * max(want[0], 1)
