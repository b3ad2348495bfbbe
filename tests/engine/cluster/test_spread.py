"""Functions that are called on workers give what they give here, in order."""

from __future__ import annotations

import numpy as np
import pytest
from dask.distributed import Client

import scanpy_oom
from scanpy_oom.engine.cluster.client import cluster_of
from scanpy_oom.engine.cluster.spread import spread
from scanpy_oom.neighbors.index import Index


def scaled(factors: np.ndarray, number: int) -> np.ndarray:
    """A function of shared data and a task, which overflows, as neighbours may."""
    if number < 0:
        msg = f"{number} is below zero"
        raise ValueError(msg)
    return factors * np.float64(1e308) * number


@pytest.mark.parametrize("n_tasks", [0, 1, 7, 100])
def test_results_come_in_the_order_of_tasks(client: Client, n_tasks: int) -> None:
    cluster = cluster_of(client)
    assert cluster is not None
    factors = np.arange(4.0)
    found = list(spread(cluster, scaled, factors, range(n_tasks)))
    with np.errstate(all="ignore"):
        expected = [scaled(factors, number) for number in range(n_tasks)]
    np.testing.assert_array_equal(found, expected)


def test_an_error_of_a_task_is_that_of_the_call(client: Client) -> None:
    cluster = cluster_of(client)
    assert cluster is not None
    with pytest.raises(ValueError, match="-1 is below zero"):
        list(spread(cluster, scaled, np.ones(2), [1, -1, 2]))


@pytest.mark.parametrize("exact_up_to", [0, 10_000])
@pytest.mark.parametrize("workers", ["client", "three"])
def test_neighbours_are_the_same_on_workers(request: pytest.FixtureRequest, workers: str, exact_up_to: int) -> None:
    rng = np.random.default_rng(0)
    points = rng.standard_normal((3000, 8)) + 6 * rng.integers(0, 5, (3000, 1))
    index = Index(points.astype(np.float32), 15, recall=0.9, exact_up_to=exact_up_to)
    expected = index.neighbors(16)
    with scanpy_oom.engine(request.getfixturevalue(workers)):
        found = index.neighbors(16)
    np.testing.assert_array_equal(found.indices, expected.indices)
    np.testing.assert_array_equal(found.distances, expected.distances)
