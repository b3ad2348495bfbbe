from __future__ import annotations

import numpy as np
import pytest
from scipy import linalg, sparse
from sklearn.neighbors import kneighbors_graph

from scanpy_oom import settings
from scanpy_oom.embedding import spectral
from scanpy_oom.embedding.graph import LayoutGraph
from scanpy_oom.embedding.spectral import SpectralLayout

from .graphs import in_parts, strip, symmetric


def exact(graph, dim: int) -> np.ndarray:
    dense = graph.toarray().astype(float)
    scale = 1 / np.sqrt(dense.sum(axis=0))
    return linalg.eigh(dense * scale * scale[:, None])[1][:, ::-1][:, 1 : dim + 1]


def alignment(found: np.ndarray, expected: np.ndarray) -> np.ndarray:
    return abs((found * expected).sum(axis=0))


@pytest.mark.parametrize("n", [300, 700])
@pytest.mark.parametrize("dim", [2, 5])
def test_vectors_are_those_of_the_normalised_matrix(n, dim):
    graph = strip(n)
    found = SpectralLayout(LayoutGraph(graph, 500), dim).of_component(np.arange(n, dtype=np.int32))
    assert found.shape == (n, dim)
    np.testing.assert_allclose(alignment(found, exact(graph, dim)), 1, atol=0.02)


def test_a_component_is_laid_out_as_if_it_were_alone():
    graph = in_parts(600, 50, 450)
    layout = LayoutGraph(graph, 500)
    _, labels = layout.components()
    for label in range(3):
        rows = np.flatnonzero(labels == label).astype(np.int32)
        found = SpectralLayout(layout, 2).of_component(rows)
        np.testing.assert_allclose(alignment(found, exact(graph[rows][:, rows], 2)), 1, atol=0.02)


@pytest.mark.parametrize("n_threads", [2, 4])
def test_vectors_do_not_depend_on_threads(n_threads):
    graph = LayoutGraph(strip(5000), 500)
    rows = np.arange(5000, dtype=np.int32)
    settings.n_threads = 1
    expected = SpectralLayout(graph, 2).of_component(rows)
    settings.n_threads = n_threads
    np.testing.assert_array_equal(SpectralLayout(graph, 2).of_component(rows), expected)


def test_iteration_and_lapack_agree(monkeypatch):
    graph = LayoutGraph(strip(350), 500)
    rows = np.arange(350, dtype=np.int32)
    expected = SpectralLayout(graph, 2).of_component(rows)
    monkeypatch.setattr(spectral, "DENSE", 100)
    np.testing.assert_allclose(alignment(SpectralLayout(graph, 2).of_component(rows), expected), 1, atol=0.02)


def without_clusters():
    random = np.random.default_rng(0)
    yield "complete", sparse.csr_matrix(np.ones((450, 450)) - np.eye(450))
    yield "random", sparse.csr_matrix(np.triu(random.random((1200, 1200)) < 0.05, 1))
    yield "nearest of one cloud", kneighbors_graph(random.normal(size=(1500, 50)), 14)


@pytest.mark.parametrize("graph", [pytest.param(symmetric(graph), id=name) for name, graph in without_clusters()])
def test_eigenvalues_far_from_1_are_found_too(graph):
    n = graph.shape[0]
    found = SpectralLayout(LayoutGraph(graph, 500), 2).of_component(np.arange(n, dtype=np.int32)).astype(float)
    dense = graph.toarray().astype(float)
    scale = 1 / np.sqrt(dense.sum(axis=0))
    matrix = dense * scale * scale[:, None]
    values = linalg.eigvalsh(matrix, subset_by_index=(n - 3, n - 2))[::-1]
    quotients = np.einsum("ij,ik,kj->j", found, matrix, found)
    np.testing.assert_allclose(quotients, values, atol=spectral.TOLERANCE)
