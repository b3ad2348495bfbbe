"""What other packages do with `adata.X`: within the memory limit it works and is said once, above it is refused."""

from __future__ import annotations

import io

import numpy as np
import pytest
import scanpy as sc
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import pairwise_distances

from scanpy_oom import MemoryBudgetExceeded
from scanpy_oom.passes import budget
from scanpy_oom.settings import settings

from ..matrices import counts, oom

CALLS = {
    "numpy.asarray": np.asarray,
    "numpy.corrcoef": lambda x: np.corrcoef(np.asarray(x)[:5]),
    "PCA": lambda x: PCA(2, svd_solver="full").fit_transform(x),
    "LogisticRegression": lambda x: LogisticRegression(max_iter=500).fit(x, np.arange(x.shape[0]) % 2).coef_,
    "pairwise_distances": pairwise_distances,
}


@pytest.fixture
def log(monkeypatch):
    monkeypatch.setattr(budget, "_announced", set())
    before, sc.settings.logfile = sc.settings.logfile, io.StringIO()
    yield sc.settings.logfile
    sc.settings.logfile = before


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
def test_what_wants_an_array_gets_it_and_it_is_said_once_with_its_size(call, log):
    x = counts(60, 30).toarray()
    lazy = oom(x)
    for _ in range(2):
        np.testing.assert_allclose(call(lazy), call(x), rtol=1e-5, atol=1e-5)
    assert log.getvalue().count("into memory (7.2 kB)") == 1


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
def test_what_wants_an_array_is_refused_with_advice_where_there_is_no_room(call, monkeypatch):
    lazy = oom(counts(60, 30).toarray())
    monkeypatch.setattr(settings, "_memory_limit", 1000)
    with pytest.raises(MemoryBudgetExceeded, match=r"memory_limit = '"):
        call(lazy)
