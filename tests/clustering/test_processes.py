from __future__ import annotations

import random
from types import SimpleNamespace

import igraph
import numpy as np
import pytest
import scanpy as sc

from scanpy_oom import settings
from scanpy_oom.clustering import processes
from scanpy_oom.clustering.draws import Draws, drawing_from
from scanpy_oom.clustering.graph import HalfGraph
from scanpy_oom.clustering.leiden import Search, clusters_of
from scanpy_oom.memory.ledger import ACCOUNTANT
from scanpy_oom.settings import format_bytes

from .test_graph import weighted


@pytest.fixture
def half():
    return HalfGraph.of(weighted(300, density=0.05), use_weights=True, twice=True)


def searches(*resolutions, **options):
    return [Search(resolution, 2, np.random.RandomState(0), options) for resolution in resolutions]


def test_processes_find_what_this_one_finds(half, monkeypatch):
    monkeypatch.setattr(processes, "WORTH", 0)
    settings.n_threads, settings.memory_limit = 2, "2 GB"
    start = np.arange(300) % 7
    wanted = list(clusters_of(half, searches(0.5, 1.5, initial_membership=start)))
    done = []
    own = processes._run
    monkeypatch.setattr(processes, "_run", lambda *args: done.append(own(*args)) or done[-1])
    found = list(processes.all_clusters(half, searches(0.5, 1.5, initial_membership=start)))
    assert len(done) == 2
    assert None not in done
    for one, other in zip(found, wanted, strict=True):
        np.testing.assert_array_equal(one.labels, other.labels)
        assert one.modularity == other.modularity


def test_a_process_that_fails_leaves_its_search_to_this_one(half, monkeypatch):
    monkeypatch.setattr(processes, "WORTH", 0)
    monkeypatch.setattr(processes, "_PROGRAM", "raise SystemExit(3)")
    settings.n_threads, settings.memory_limit = 2, "2 GB"
    found = list(processes.all_clusters(half, searches(0.5, 1.5)))
    for one, other in zip(found, clusters_of(half, searches(0.5, 1.5)), strict=True):
        np.testing.assert_array_equal(one.labels, other.labels)


def test_there_are_as_many_processes_as_cores_and_memory_allow():
    half = SimpleNamespace(data=range(processes.WORTH), nbytes=50 * 10**6)
    settings.memory_limit, settings.n_threads = "1 GB", 8
    assert processes.number_of_processes(half, 3) == 3
    assert processes.number_of_processes(half, 20) == (10**9 - ACCOUNTANT.in_use) // (200 * 10**6)
    settings.n_threads = 2
    assert processes.number_of_processes(half, 20) == 2
    settings.memory_limit = "300 MB"
    assert processes.number_of_processes(half, 20) == 1
    settings.memory_limit = "1 GB"
    half.data = range(10)
    assert processes.number_of_processes(half, 20) == 1


def test_more_than_the_limit_is_warned_of(half, monkeypatch):
    said: list[str] = []
    monkeypatch.setattr(sc.logging, "warning", said.append)
    wanted = [Search(1.0, 2, np.random.RandomState(0))]
    list(clusters_of(half, wanted))
    assert not said
    monkeypatch.setattr(type(half), "nbytes", property(lambda _: settings.memory_limit + 1))
    list(clusters_of(half, wanted))
    assert [text.partition(":")[0].partition(" for ")[2] for text in said] == [
        f"{half.n_edges:,} edges, more than the limit of {format_bytes(settings.memory_limit)}"
    ]


def test_memory_is_reserved_while_clusters_are_looked_for(half, monkeypatch):
    held = []
    own = igraph.Graph.community_leiden
    before = ACCOUNTANT.held.get("workspace", 0)

    def community_leiden(self, *args, **kwargs):
        held.append(ACCOUNTANT.held.get("workspace", 0) - before)
        return own(self, *args, **kwargs)

    monkeypatch.setattr(igraph.Graph, "community_leiden", community_leiden)
    list(clusters_of(half, searches(1, 2)))
    assert held == [half.nbytes] * 2
    assert ACCOUNTANT.held.get("workspace", 0) == before


def test_igraph_draws_from_python_again_after_a_failure():
    with pytest.raises(KeyError), drawing_from(np.random.RandomState(0)):
        raise KeyError
    found = []
    for _ in range(2):
        random.seed(0)
        found.append(igraph.Graph.Erdos_Renyi(n=20, p=0.5).get_edgelist())
    assert found[0] == found[1]


@pytest.mark.parametrize("source", [np.random.RandomState, np.random.default_rng])
def test_numbers_are_in_their_ranges(source):
    draws = Draws(source(0))
    assert {draws.randint(1, 3) for _ in range(50)} == {1, 2, 3}
    assert 0 <= draws.getrandbits(5) < 32
    assert 0 <= draws.random() < 1
    assert isinstance(draws.gauss(0, 1), float)
