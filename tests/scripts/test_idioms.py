"""What scripts do to X themselves: each idiom leaves and returns out of memory what it does in memory."""

from __future__ import annotations

import io
from pathlib import Path

import anndata as ad
import numpy as np
import pandas as pd
import pytest
import scanpy as sc
from scipy import io as scipy_io
from scipy import sparse
from scipy.sparse import issparse
from scipy.sparse.linalg import norm
from scipy.stats import entropy
from sklearn.decomposition import NMF, TruncatedSVD
from sklearn.preprocessing import normalize
from sklearn.utils.sparsefuncs import mean_variance_axis

from ..fuzz.compare import differences
from ..matrices import annotated, counts

pytestmark = pytest.mark.filterwarnings("ignore")


def as_array(x):
    """What many a script begins with."""
    return x.toarray() if issparse(x) else np.asarray(x)


def normalized_by_hand(a):
    totals = np.asarray(a.X.sum(axis=1)).ravel()
    a.X = sparse.diags(1e4 / np.maximum(totals, 1)) @ a.X


def cp10k_into_data(a):
    a.X = a.X.astype("float64")
    totals = np.asarray(a.X.sum(axis=1)).ravel()
    a.X.data /= np.repeat(np.maximum(totals, 1), np.diff(a.X.indptr))
    a.X.data *= 1e4


def pseudobulk(a):
    groups = {}
    for kind in a.obs["kind"].cat.categories:
        groups[kind] = np.asarray(a[a.obs["kind"] == kind].X.sum(axis=0)).ravel()
    return pd.DataFrame(groups, index=a.var_names)


def by_indicator(a):
    indicator = pd.get_dummies(a.obs["kind"]).to_numpy().astype("float32")
    return sparse.csr_matrix(indicator.T) @ a.X


def with_raw_layer(a):
    a.layers["raw"] = a.X
    sc.pp.normalize_total(a, target_sum=1e4)
    sc.pp.log1p(a)


def with_counts_layer(a):
    a.layers["counts"] = a.X.copy()
    sc.pp.normalize_total(a, target_sum=1e4)
    sc.pp.log1p(a)
    a.X, a.layers["log"] = a.layers["counts"].copy(), a.X


def raw_before_normalizing(a):
    a.raw = a
    sc.pp.normalize_total(a, target_sum=1e4)
    sc.pp.log1p(a)
    return float(a.raw.X.max())


def two_objects(a):
    b = ad.AnnData(a.X, obs=a.obs.copy(), var=a.var.copy())
    sc.pp.log1p(b)
    return b


def in_a_function(a):
    def clip(x, most):
        x[x > most] = most
        return x

    a.layers["clipped"] = clip(a.X.copy(), 2)


def expressed_in_two(a):
    both = (
        (a[:, "gene1"].X > 0).multiply(a[:, "gene3"].X > 0) if issparse(a.X) else (a.X[:, [1]] > 0) & (a.X[:, [3]] > 0)
    )
    return int(both.sum())


def shuffled(a):
    order = np.random.default_rng(0).permutation(a.n_obs)
    a.X = a.X[order]


def imputed(a):
    dense = as_array(a.X)
    a.layers["imputed"] = np.where(dense == 0, dense.mean(axis=0), dense)


def split_and_joined(a):
    parts = [a[a.obs["batch"] == batch].copy() for batch in a.obs["batch"].cat.categories]
    for part in parts:
        sc.pp.log1p(part)
    return ad.concat(parts)


def market(a):
    file = io.BytesIO()
    scipy_io.mmwrite(file, sparse.csr_matrix(a.X).T)
    return file.getvalue().decode()


def chunked(a):
    return sum(float(chunk.sum()) for chunk, _, _ in a.chunked_X(7))


IDIOMS = {
    "density": lambda a: a.X.nnz / np.prod(a.X.shape) if issparse(a.X) else np.count_nonzero(a.X) / a.X.size,
    "dense if sparse": lambda a: setattr(a, "X", as_array(a.X)),
    "sparse if dense": lambda a: setattr(a, "X", sparse.csr_matrix(a.X)),
    "whole numbers": lambda a: bool(np.all(np.mod(a.X.data, 1) == 0)) if issparse(a.X) else bool(np.all(a.X % 1 == 0)),
    "counts by a function": lambda a: bool(np.allclose(a.X.data, np.round(a.X.data))) if issparse(a.X) else True,
    "log2 by hand": lambda a: setattr(a, "X", a.X.log1p() / np.log(2) if issparse(a.X) else np.log2(a.X + 1)),
    "log of data": lambda a: setattr(a.X, "data", np.log2(a.X.data + 1)) if issparse(a.X) else None,
    "binary": lambda a: setattr(a.X, "data", np.ones_like(a.X.data)) if issparse(a.X) else None,
    "binary by mask": lambda a: a.X.__setitem__(a.X > 0, 1),
    "clipped": lambda a: a.X.__setitem__(a.X > 3, 3),
    "clipped data": lambda a: a.X.data.__setitem__(a.X.data > 3, 3) if issparse(a.X) else None,
    "ceiling": lambda a: setattr(a.X, "data", np.ceil(a.X.data)) if issparse(a.X) else None,
    "float32": lambda a: setattr(a, "X", a.X.astype(np.float32)),
    "int": lambda a: setattr(a, "X", a.X.astype(int)),
    "a gene to zero": lambda a: a.X.__setitem__((slice(None), 3), 0),
    "a cell to zero": lambda a: a.X.__setitem__(5, 0),
    "zeros out": lambda a: a.X.eliminate_zeros() if issparse(a.X) else None,
    "times a factor": lambda a: setattr(a, "X", a.X * 2.5),
    "sqrt": lambda a: setattr(a, "X", np.sqrt(a.X)),
    "means to var": lambda a: a.var.__setitem__("mean", np.asarray(a.X.mean(axis=0)).ravel()),
    "detected to obs": lambda a: a.obs.__setitem__("n", np.asarray((a.X > 0).sum(axis=1)).ravel()),
    "mean and variance": lambda a: mean_variance_axis(a.X, axis=0)[1] if issparse(a.X) else a.X.var(axis=0),
    "norm": lambda a: round(float(norm(a.X) if issparse(a.X) else np.linalg.norm(a.X)), 3),
    "entropy": lambda a: entropy(as_array(a.X) + 1, axis=1),
    "rows of length one": lambda a: normalize(a.X),
    "correlation": lambda a: np.corrcoef(as_array(a.X)[:, [0, 1, 4]].T),
    "svd": lambda a: np.abs(TruncatedSVD(2, random_state=0, algorithm="arpack").fit(a.X).singular_values_),
    "nmf": lambda a: NMF(2, init="nndsvd", max_iter=20).fit_transform(a.X).shape,
    "covariance": lambda a: as_array(a.X.T @ a.X),
    "a frame": lambda a: (
        pd.DataFrame(as_array(a.X), index=a.obs_names, columns=a.var_names).groupby(a.obs["kind"]).sum()
    ),
    "a sparse frame": lambda a: pd.DataFrame.sparse.from_spmatrix(a.X).shape if issparse(a.X) else None,
    "top genes": lambda a: list(a.var_names[np.argsort(-np.asarray(a.X.sum(axis=0)).ravel(), kind="stable")[:5]]),
    "a row": lambda a: as_array(a.X[3]).ravel(),
    "a column": lambda a: as_array(a.X[:, 3]).ravel(),
    "a block": lambda a: as_array(a.X[:5][:, [1, 2]]),
    "stacked": lambda a: sparse.vstack([a.X, a.X]).shape if issparse(a.X) else np.vstack([a.X, a.X]).shape,
    "by hand": normalized_by_hand,
    "into data": lambda a: cp10k_into_data(a) if issparse(a.X) and a.X.format == "csr" else None,
    "pseudobulk": pseudobulk,
    "by an indicator": by_indicator,
    "a layer without copy": with_raw_layer,
    "a layer with copy": with_counts_layer,
    "raw before": raw_before_normalizing,
    "two objects": two_objects,
    "an object of X": lambda a: ad.AnnData(a.X),
    "in a function": in_a_function,
    "two genes": expressed_in_two,
    "shuffled": shuffled,
    "imputed": imputed,
    "split and joined": split_and_joined,
    "matrix market": market,
    "in chunks": chunked,
}


@pytest.fixture(scope="module", params=["csr", "csc", "dense"])
def path(request, tmp_path_factory) -> Path:
    x = counts(40, 12, density=0.5)
    x = x.toarray() if request.param == "dense" else x.asformat(request.param)
    path = tmp_path_factory.mktemp("idioms") / "a.h5ad"
    annotated(x).write_h5ad(path)
    return path


@pytest.mark.parametrize("what", IDIOMS)
def test_an_idiom_does_what_it_does_in_memory(what, path):
    found = []
    for backed in (None, "oom"):
        a = ad.read_h5ad(path, backed=backed)
        try:
            found.append((IDIOMS[what](a), a))
        except Exception as error:  # noqa: BLE001 - it is to be that of memory
            found.append((type(error).__name__, a))
    (want, memory), (got, lazy) = found
    assert differences(want, got, "returned") == []
    assert differences(memory, lazy) == []
