from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial.distance import cdist

from scanpy_oom.neighbors import buckets
from scanpy_oom.neighbors.buckets import in_buckets, one_bucket, ranks_of_buckets
from scanpy_oom.neighbors.points import Rows

from .points import clustered


def test_all_points_are_in_the_bucket_whose_centre_is_nearest(monkeypatch):
    monkeypatch.setattr(buckets, "PER_BUCKET", 100)
    x = clustered(3000, 10)
    found = in_buckets(Rows(x, "euclidean"))
    np.testing.assert_array_equal(found.points, x[found.names])
    np.testing.assert_array_equal(np.sort(found.names), np.arange(3000))
    nearest = cdist(x, found.centers).argmin(axis=1)
    for number in range(30):
        points, names = found.bucket(number)
        assert (np.diff(names) > 0).all()
        assert (nearest[names] == number).all()
        np.testing.assert_array_equal(points, x[names])
    assert sum(b - a for a, b in found.blocks()) == 3000


def test_one_bucket_holds_points_as_they_come():
    x = clustered(100, 3)
    found = one_bucket(Rows(x, "euclidean"))
    np.testing.assert_array_equal(found.points, x)
    np.testing.assert_array_equal(found.names, np.arange(100))
    np.testing.assert_array_equal(found.starts, [0, 100])


def test_ranks_are_those_of_sorted_centres():
    x = clustered(40, 5)
    ranks = ranks_of_buckets(x[:10], x[10:])
    np.testing.assert_array_equal(np.argsort(ranks, axis=1), np.argsort(cdist(x[:10], x[10:]), axis=1))


def test_centres_without_points_stay_where_they_are(monkeypatch):
    monkeypatch.setattr(buckets, "PER_BUCKET", 10)
    x = np.repeat(np.eye(3, dtype=np.float32), 50, axis=0)
    found = in_buckets(Rows(x, "euclidean"))
    assert np.isfinite(found.centers).all()
    assert found.starts[-1] == 150


@pytest.mark.parametrize("n_threads", [1, 2, 4])
def test_buckets_do_not_depend_on_threads(n_threads, monkeypatch):
    from scanpy_oom import settings

    monkeypatch.setattr(buckets, "PER_BUCKET", 100)
    settings.n_threads = 3
    want = in_buckets(Rows(clustered(3000), "cosine"))
    settings.n_threads = n_threads
    found = in_buckets(Rows(clustered(3000), "cosine"))
    for name in ("points", "names", "starts", "centers"):
        np.testing.assert_array_equal(getattr(found, name), getattr(want, name))
