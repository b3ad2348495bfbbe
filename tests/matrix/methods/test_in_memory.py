"""What other packages do with `adata.X`: within the memory limit it works and is said once, above it is refused."""

from __future__ import annotations

import io

import numpy as np
import pytest
import scanpy as sc
from scipy import sparse
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import pairwise_distances

from scanpy_oom import MemoryBudgetExceeded
from scanpy_oom.engine import budget
from scanpy_oom.settings import settings

from ...matrices import counts, oom

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
    monkeypatch.setattr(budget, "NOTABLE", 0)
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


@pytest.mark.parametrize("layout", [sparse.csr_matrix, sparse.csc_matrix, sparse.csr_array, sparse.csc_array])
@pytest.mark.parametrize("order", [None, "C", "F"])
def test_an_array_has_the_order_that_it_has_in_memory(layout, order):
    x = layout(counts(9, 7))
    for memory, lazy in ((x, oom(x)), (x.T, oom(x).T)):
        want, got = memory.toarray(order), lazy.toarray(order)
        np.testing.assert_array_equal(got, want)
        assert got.flags.c_contiguous == want.flags.c_contiguous
        assert got.flags.f_contiguous == want.flags.f_contiguous


def test_an_array_to_fill_has_the_shape_and_type_of_the_matrix():
    x = counts(9, 7)
    out = np.ones((9, 7), dtype="float32")
    assert oom(x).toarray(out=out) is out
    np.testing.assert_array_equal(out, x.toarray())
    for wrong in (np.ones((1, 7), dtype="float32"), np.ones((9, 7))):
        with pytest.raises(ValueError, match="must be same dtype and shape"):
            oom(x).toarray(out=wrong)
    with pytest.raises(ValueError, match="order cannot be specified"):
        oom(x).toarray("C", out=out)
    with pytest.raises(ValueError, match="must be C or F contiguous"):
        oom(x).toarray(out=np.ones((18, 14), dtype="float32")[::2, ::2])
    for order in ("K", "A", 1):
        with pytest.raises(ValueError, match="order must be"):
            oom(x).toarray(order)
    assert oom(x).toarray("f").flags.f_contiguous
