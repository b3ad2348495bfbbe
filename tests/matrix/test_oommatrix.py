from __future__ import annotations

import pickle
import subprocess
import sys

import anndata as ad
import h5py
import numpy as np
import pytest
import scanpy as sc
import scipy
from anndata.abc import CSRDataset
from hypothesis import given, settings
from hypothesis import strategies as st
from packaging.version import Version
from scipy import sparse

from scanpy_oom.errors import MemoryBudgetExceeded
from scanpy_oom.matrix import OOMMatrix
from scanpy_oom.settings import settings as oom_settings

from ..matrices import annotated, counts, dense, oom, pair

INDICES = [
    slice(None),
    slice(2, 9),
    slice(None, None, -2),
    slice(5, 1, -1),
    np.array([4, 4, 0]),
    np.array([-1, 3]),
    np.arange(12) % 3 == 0,
    [1, 5],
    3,
    -2,
]


@pytest.fixture(params=["csr", "dense"])
def both(request):
    x = counts(12, 12)
    x = x if request.param == "csr" else x.toarray()
    return x, oom(x)


@pytest.mark.parametrize("columns", INDICES, ids=repr)
@pytest.mark.parametrize("rows", [i for i in INDICES if not isinstance(i, np.ndarray | list)], ids=repr)
def test_indexing_gives_what_memory_gives(both, rows, columns):
    x, lazy = both
    want, got = x[rows, columns], lazy[rows, columns]
    assert type(got) is type(want) or np.isscalar(got)
    np.testing.assert_array_equal(dense(got), dense(want))


@pytest.mark.parametrize("rows", INDICES, ids=repr)
def test_one_index_selects_rows(both, rows):
    x, lazy = both
    np.testing.assert_array_equal(dense(lazy[rows]), dense(x[rows]))
    np.testing.assert_array_equal(dense(lazy[rows, ...]), dense(x[rows]))


def test_two_arrays_are_pairs_and_a_grid_is_a_grid(both):
    x, lazy = both
    rows, columns = np.array([3, 1, 1]), np.array([0, 4, 4])
    np.testing.assert_array_equal(np.ravel(lazy[rows, columns]), np.ravel(x[rows, columns]))
    np.testing.assert_array_equal(dense(lazy[np.ix_(rows, columns)]), dense(x[np.ix_(rows, columns)]))


@pytest.mark.parametrize("index", [(12, 0), (0, -13), np.zeros(11, dtype=bool), (0, 1, 2), ([0.5],)], ids=repr)
def test_an_index_out_of_range_or_of_another_kind_raises(both, index):
    with pytest.raises(IndexError):
        both[1][index]


@settings(max_examples=60)
@given(st.data())
def test_a_view_of_a_view_is_one_selection_with_its_parameters(data):
    x = counts(15, 11, seed=1)
    memory, lazy = pair(x)
    for a in (memory, lazy):
        sc.pp.normalize_total(a, target_sum=100)
        sc.pp.log1p(a)
        sc.pp.scale(a, max_value=1.5)
    want, matrix = np.asarray(memory.X), lazy.X
    for _ in range(3):
        rows = data.draw(st.lists(st.integers(0, want.shape[0] - 1), max_size=20))
        columns = data.draw(st.lists(st.integers(0, want.shape[1] - 1), min_size=1, max_size=12))
        if not rows:
            rows = [0]
        want = want[np.ix_(rows, columns)]
        matrix = matrix.select(np.array(rows, dtype=np.intp), np.array(columns, dtype=np.intp))
    np.testing.assert_array_equal(dense(matrix), want)


def test_it_is_what_anndata_calls_a_csr_dataset_and_stays_lazy_in_views_copies_layers_and_raw():
    x = counts(20, 10)
    a = annotated(x)
    a.X = oom(x)
    assert isinstance(a.X, CSRDataset)
    a.layers["counts"] = a.X.copy()
    a.raw = a
    b = a[a.obs["kind"] == "k1", ["gene3", "gene1"]]
    for view in (b, b[::-1], b.copy()):
        assert isinstance(view.X, OOMMatrix)
        assert isinstance(view.layers["counts"], OOMMatrix)
        assert isinstance(view.raw.X, OOMMatrix)
        rows = a.obs_names.get_indexer(view.obs_names)
        np.testing.assert_array_equal(dense(view.X), x[rows][:, [3, 1]].toarray())
        np.testing.assert_array_equal(dense(view.raw.X), x[rows].toarray())
    a._inplace_subset_obs(np.arange(20) % 2 == 0)
    assert isinstance(a.X, OOMMatrix)
    assert a.raw.shape == (10, 10)
    np.testing.assert_array_equal(dense(a.raw.to_adata().X), x[::2].toarray())
    assert isinstance(a.to_memory().X, sparse.csr_matrix)


def test_copies_and_subsets_read_nothing(tmp_path):
    a = annotated(counts(50, 20))
    a.write_h5ad(tmp_path / "a.h5ad", compression="gzip")
    b = sc.read_h5ad(tmp_path / "a.h5ad", backed="oom")
    b.layers["counts"] = b.X.copy()
    b.raw = b
    c = b[:, :5].copy()
    sc.pp.normalize_total(c, target_sum=1e4)
    sc.pp.log1p(c)
    assert b.X.source.bytes_read == 0
    c.X.sum()
    assert b.X.source.bytes_read > 0


def test_it_has_the_length_of_memory_and_no_truth_value(both):
    if sparse.issparse(both[0]):
        with pytest.raises(TypeError, match="ambiguous"):
            len(both[1])
    else:
        assert len(both[1]) == 12
    with pytest.raises(ValueError, match="ambiguous"):
        bool(both[1])


def test_iteration_goes_by_rows(both):
    x, lazy = both
    rows = [np.ravel(dense(row)) for row in lazy]
    np.testing.assert_array_equal(np.stack(rows), dense(x))


def test_what_does_not_fit_the_limit_is_refused_with_the_way_out(monkeypatch):
    lazy = oom(counts(200, 100))
    monkeypatch.setattr(oom_settings, "_memory_limit", 1000)
    for action in (lazy.to_memory, lazy.toarray, lambda: np.asarray(lazy.data), lambda: lazy[:, :50]):
        with pytest.raises(MemoryBudgetExceeded, match=r"more than the limit of 1 kB.*memory_limit = ") as error:
            action()
        assert "OOMMatrix of shape" in str(error.value)
    monkeypatch.setattr(oom_settings, "_memory_limit", 135 * 10**6)
    assert lazy[3, 4] == counts(200, 100)[3, 4]


def test_a_pickle_holds_path_and_chain_and_reads_in_another_process(tmp_path):
    a = annotated(counts(40, 10))
    a.write_h5ad(tmp_path / "a.h5ad")
    b = sc.read_h5ad(tmp_path / "a.h5ad", backed="oom")
    sc.pp.normalize_total(b, target_sum=10)
    sc.pp.log1p(b)
    sc.pp.scale(b)
    matrix = b.X.select(np.array([5, 2, 9]), None)
    (tmp_path / "m.pickle").write_bytes(pickle.dumps(matrix))
    np.testing.assert_array_equal(dense(pickle.loads(pickle.dumps(matrix))), dense(matrix))
    path = str(tmp_path / "m.pickle")
    code = f"import pickle, pathlib; print(pickle.loads(pathlib.Path({path!r}).read_bytes()).to_memory().sum())"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    np.testing.assert_allclose(float(out), dense(matrix).sum(), rtol=1e-12, atol=1e-12)


def test_it_describes_itself_as_text_and_html(tmp_path):
    a = annotated(counts(40, 10))
    a.write_h5ad(tmp_path / "a<b>.h5ad", compression="gzip")
    b = sc.read_h5ad(tmp_path / "a<b>.h5ad", backed="oom")
    sc.pp.normalize_total(b, target_sum=1e4)
    sc.pp.log1p(b)
    assert repr(b.X) == "OOMMatrix of shape 40 × 10, float32, from a<b>.h5ad:/X → normalize_total 10000 → log1p"
    card = str(b.oom)
    for text in ("40 × 10", "csr, gzip", "density", "normalize_total 10000 → log1p", "read so far"):
        assert text in card
    html = b.oom._repr_html_()
    assert "a&lt;b&gt;.h5ad" in html
    assert "<script" not in html
    assert "log1p" in b.X._repr_html_()


def test_the_accessor_tells_memory_from_disk_and_closes(tmp_path):
    a = annotated(counts(40, 10))
    assert not a.oom.isbacked
    assert "in memory" in repr(a.oom)
    a.write_h5ad(tmp_path / "a.h5ad")
    b = sc.read_h5ad(tmp_path / "a.h5ad", backed="oom")
    assert b.oom.isbacked
    assert not b.oom.to_memory().oom.isbacked
    assert "a.h5ad:/X" in b.oom.explain()
    b.oom.close()
    with pytest.raises((ValueError, OSError), match="clos"):
        b.X.sum()


@pytest.mark.parametrize("as_dense", [True, False])
def test_writing_streams_what_memory_would_write(tmp_path, as_dense):
    memory, lazy = pair(counts(300, 30))
    for a in (memory, lazy):
        sc.pp.normalize_total(a, target_sum=10)
        a.raw = a
        if as_dense:
            sc.pp.scale(a)
    lazy = lazy[lazy.obs["kind"] != "k0", 3:]
    memory = memory[memory.obs["kind"] != "k0", 3:]
    lazy.write_h5ad(tmp_path / "lazy.h5ad", compression="gzip")
    memory.write_h5ad(tmp_path / "memory.h5ad", compression="gzip")
    got, want = ad.read_h5ad(tmp_path / "lazy.h5ad"), ad.read_h5ad(tmp_path / "memory.h5ad")
    assert type(got.X) is type(want.X)
    assert got.X.dtype == want.X.dtype
    np.testing.assert_array_equal(dense(got.X), dense(want.X))
    np.testing.assert_array_equal(dense(got.raw.X), dense(want.raw.X))
    with h5py.File(tmp_path / "lazy.h5ad") as f, h5py.File(tmp_path / "memory.h5ad") as g:
        assert dict(f["X"].attrs).keys() == dict(g["X"].attrs).keys()
        dataset = f["X"] if as_dense else f["X/data"]
        assert dataset.compression == "gzip"


@pytest.mark.parametrize("make", [lambda x: x, lambda x: x.toarray()], ids=["sparse", "dense"])
@pytest.mark.parametrize(
    "index",
    [
        (np.array([[0, 1], [5, -1]]), np.array([[0, 1], [2, 3]])),
        (np.array([[0, 1, 4]]), np.array([2])),
        (np.array([0, 1, 4]), np.array([2, 2, -3])),
        (np.ix_([4, 0], [1, 1, 3])),
        (np.array(3), slice(None)),
        (slice(None), np.array(3)),
        (np.array(3), np.array(2)),
        (np.array([[0], [2], [4]]), np.array([[0], [2], [4]])),
        (np.array([[0], [2], [4]]), np.array([[1, 2], [3, 4], [5, 0]])),
        (np.array([[0]]), np.array([[0, 1], [2, 3]])),
        (np.array([[0, 1], [2, 3]]), 2),
        (2, np.array([[0, 1], [2, 3]])),
    ],
)
def test_arrays_of_positions_give_the_shape_that_they_give_in_memory(make, index):
    x = make(counts(12, 8))
    if sparse.issparse(x) and isinstance(index[0], int) and Version(scipy.__version__) < Version("1.16"):
        pytest.skip("SciPy 1.15 puts positions of two dimensions in one row")
    want, found = x[index], oom(x)[index]
    # SciPy has coordinates where an integer meets positions of two dimensions
    assert type(found) is type(want.tocsr() if sparse.issparse(want) else want)
    assert found.shape == want.shape
    np.testing.assert_array_equal(dense(found), dense(want))


@pytest.mark.parametrize("make", [lambda x: x, lambda x: x.toarray()], ids=["sparse", "dense"])
@pytest.mark.parametrize(
    "index",
    [
        (np.array([[0], [2], [4]]), np.array([[0, 1], [2, 3]])),
        (np.array([[0, 1], [2, 3]]), slice(None)),
        (np.zeros((2, 2, 2), dtype=int), np.zeros((2, 2, 2), dtype=int)),
    ],
)
def test_positions_that_make_up_no_matrix_are_refused_where_they_are_in_memory(make, index):
    x = make(counts(12, 8))
    try:
        want = x[index]
    except (IndexError, ValueError):  # the latter of SciPy 1.15
        with pytest.raises(IndexError):
            oom(x)[index]
    else:
        np.testing.assert_array_equal(oom(x)[index], want)
