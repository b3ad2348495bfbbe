"""A sparse matrix out of memory is of the class that anndata gives in memory, and does all that it does."""

from __future__ import annotations

import inspect
import io
import pickle

import anndata as ad
import numpy as np
import pytest
from scipy import io as scipy_io
from scipy import sparse
from sklearn.utils import check_array
from sklearn.utils.sparsefuncs import mean_variance_axis

from scanpy_oom import MemoryBudgetExceeded
from scanpy_oom import settings as oom_settings
from scanpy_oom.matrix import OOMMatrix
from scanpy_oom.matrix.inplace.stored_values import StoredValues
from scanpy_oom.matrix.kinds import KINDS

from ..comparison import passes_of
from ..matrices import annotated, counts, dense, oom

pytestmark = pytest.mark.filterwarnings("ignore")

CLASSES = [sparse.csr_matrix, sparse.csc_matrix, sparse.csr_array, sparse.csc_array]


@pytest.fixture(params=CLASSES, ids=lambda kind: kind.__name__)
def both(request):
    x = request.param(counts(12, 9, density=0.5))
    return x, oom(x)


def test_it_is_of_the_class_that_it_has_in_memory(both):
    memory, lazy = both
    assert isinstance(lazy, type(memory))
    assert isinstance(lazy, OOMMatrix)
    assert sparse.issparse(lazy)
    assert lazy.format == memory.format
    for question in (sparse.isspmatrix, sparse.isspmatrix_csr, sparse.isspmatrix_csc):
        assert question(lazy) == question(memory)
    assert [isinstance(lazy, kind) for kind in CLASSES] == [isinstance(memory, kind) for kind in CLASSES]


def test_a_dense_one_is_no_sparse_matrix():
    assert not sparse.issparse(oom(np.ones((3, 4))))


@pytest.mark.parametrize("backed", [None, "oom"])
def test_anndata_s_setting_decides_what_is_read(tmp_path, backed):
    annotated(counts(12, 9)).write_h5ad(tmp_path / "a.h5ad")
    for arrays, kind in ((False, sparse.csr_matrix), (True, sparse.csr_array)):
        with ad.settings.override(use_sparse_array_on_read=arrays):
            assert isinstance(ad.read_h5ad(tmp_path / "a.h5ad", backed=backed).X, kind)


def test_what_is_made_of_it_is_of_such_a_class_too(both):
    memory, lazy = both
    for make in (lambda x: x.copy(), lambda x: x * 2, lambda x: x.T, lambda x: x.tocsr(), lambda x: x.astype(float)):
        assert isinstance(make(lazy), type(make(memory)))
        assert isinstance(make(lazy), OOMMatrix)
        np.testing.assert_array_equal(dense(make(lazy)), dense(make(memory)))
    assert type(pickle.loads(pickle.dumps(lazy))) is type(lazy)


@pytest.mark.parametrize(
    "make",
    [
        sparse.csr_matrix,
        sparse.csc_matrix,
        sparse.coo_matrix,
        sparse.csr_array,
        lambda x: sparse.csr_matrix(x, copy=True),
        lambda x: sparse.csr_matrix(x, dtype="float64"),
        lambda x: sparse.csr_matrix(
            (x.data, x.indices, x.indptr), shape=x.shape if x.format == "csr" else x.shape[::-1]
        ),
        lambda x: sparse.vstack([x, x]),
        lambda x: sparse.hstack([x, sparse.eye(12)]),
        lambda x: sparse.block_diag([x, x]),
        lambda x: sparse.triu(x),
        lambda x: sparse.find(x)[2],
        lambda x: sparse.kron(x, np.ones((1, 2))),
        lambda x: sparse.linalg.norm(x),
        lambda x: check_array(x, accept_sparse=True),
        lambda x: mean_variance_axis(x, axis=0),
        lambda x: x.asformat("csc"),
        lambda x: x.tocoo(),
        lambda x: x.todok(),
        lambda x: x.nonzero(),
        lambda x: x.diagonal(),
        lambda x: x.reshape((9, 12)),
        lambda x: x[[3]],
        lambda x: abs(x - x * 2),
        lambda x: sparse.eye(12, format="csr") + x[:, [0] * 12],
        lambda x: sparse.csr_matrix(np.eye(12)) @ x,
        lambda x: x.maximum(x * 2),
        lambda x: x.multiply(x),
        lambda x: x.argmax(axis=1),
        lambda x: x.trace(),
    ],
)
def test_functions_of_scipy_and_scikit_learn_take_it(both, make):
    memory, lazy = both
    want, got = make(memory), make(lazy)
    for a, b in zip(want, got, strict=True) if isinstance(want, tuple) else [(want, got)]:
        if sparse.issparse(a):
            assert a.format == b.format
            assert isinstance(b, sparse.sparray) == isinstance(a, sparse.sparray)
        np.testing.assert_allclose(np.asarray(dense(b), float), np.asarray(dense(a), float), rtol=1e-6)


def test_what_scipy_makes_of_it_may_be_written_to_and_is_its_own(both):
    memory, lazy = both
    made = type(memory)(lazy)
    made.data[:] = 7
    np.testing.assert_array_equal(dense(lazy), dense(memory))


def test_it_is_written_as_a_sparse_matrix_in_matrix_market_and_npz(both, tmp_path):
    files = [io.BytesIO(), io.BytesIO()]
    for file, x in zip(files, both, strict=True):
        scipy_io.mmwrite(file, x)
        sparse.save_npz(tmp_path / "x.npz", x)
        assert (sparse.load_npz(tmp_path / "x.npz") != both[0]).nnz == 0
    assert files[0].getvalue() == files[1].getvalue()


@pytest.mark.parametrize("make", [sparse.csr_matrix, sparse.coo_matrix, lambda x: sparse.vstack([x, x])])
def test_what_does_not_fit_says_so_in_constructors_too(make, monkeypatch):
    lazy = oom(counts(400, 300))
    monkeypatch.setattr(oom_settings, "_memory_limit", 10_000)
    with pytest.raises(MemoryBudgetExceeded, match="more than the limit"):
        make(lazy)


def test_every_method_of_scipy_is_ours_or_runs_on_values_in_memory():
    for kind in KINDS.values():
        for base in kind.__mro__[:-1]:
            if not base.__module__.startswith("scipy"):
                continue
            for name, member in vars(base).items():
                if inspect.isfunction(member) and name != "__init__":
                    assert not getattr(kind, name).__module__.startswith("scipy") or hasattr(
                        getattr(kind, name), "__wrapped__"
                    ), name


def test_a_script_gets_lazy_values_and_a_library_an_array(both):
    _, lazy = both
    assert isinstance(lazy.data, StoredValues)
    library: dict = {"__name__": "scanpy.some", "x": lazy}
    exec("data = x.data", library)
    assert type(library["data"]).__mro__[1] is np.ndarray
    np.testing.assert_array_equal(library["data"], both[0].data)


def test_what_a_library_writes_to_the_data_is_written_to_the_matrix(both):
    memory, lazy = both
    for x in (memory, lazy):
        library: dict = {"__name__": "scanpy.some", "x": x}
        exec("x.data[x.data > 2] = 2; x.data += 1; x.data[0] = 9; x.data *= 2", library)
    np.testing.assert_array_equal(dense(lazy), dense(memory))
    exec("d = x.data", library)
    assert not library["d"].flags.writeable


def test_it_prints_what_it_prints_in_memory_and_reads_its_ends_alone(both, tmp_path):
    memory, lazy = both
    large = type(memory)(counts(300, 40, density=0.5))
    annotated(large).write_h5ad(tmp_path / "a.h5ad")
    on_disk = ad.read_h5ad(tmp_path / "a.h5ad", backed="oom").X
    for change in (lambda x: x, lambda x: x.T, lambda x: x[:0], lambda x: x[:, :1], lambda x: x * 2):
        assert str(change(lazy)) == str(change(memory))
        assert str(change(oom(large))) == str(change(large))
    assert str(on_disk).splitlines()[1:] == str(large).splitlines()[1:]
    assert passes_of(lambda: str(on_disk)) == 0
