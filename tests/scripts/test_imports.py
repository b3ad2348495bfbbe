"""Names of SciPy and scikit-learn work on `adata.X`, whether a script imports them before scanpy or after."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
from pathlib import Path

import pytest

from ..fuzz.compare import differences
from ..matrices import annotated, counts

NAMES = """
from scipy.sparse import (
    bmat, block_array, block_diag, coo_matrix, csr_matrix, csc_matrix, diags, find, hstack, issparse, isspmatrix_csr,
    kron, spmatrix, tril, vstack,
)
from scipy.sparse.linalg import norm, svds
from scipy.stats import spearmanr
from sklearn.decomposition import NMF, PCA, TruncatedSVD
from sklearn.cluster import KMeans, MiniBatchKMeans
from sklearn.feature_selection import VarianceThreshold
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import pairwise_distances
from sklearn.neighbors import NearestNeighbors
from sklearn.preprocessing import MaxAbsScaler, StandardScaler, binarize, normalize, scale
from sklearn.utils import check_array, safe_mask, shuffle
from sklearn.utils.extmath import randomized_svd, safe_sparse_dot
from sklearn.utils.sparsefuncs import count_nonzero, inplace_column_scale, mean_variance_axis, min_max_axis
"""

SCANPY = "import scanpy as sc\n"

CALLS = """
import pickle, sys, warnings
import numpy as np

warnings.simplefilter("ignore")
calls = {
    "vstack": lambda x: vstack([x, x[:3]]),
    "vstack of csc": lambda x: vstack([x.tocsc(), x.tocsc()]),
    "hstack": lambda x: hstack([x, x], format="csr"),
    "bmat": lambda x: bmat([[x, None], [None, x]]),
    "block_array": lambda x: block_array([[x], [x]]),
    "block_diag": lambda x: block_diag([x, x]),
    "questions": lambda x: [issparse(x), isspmatrix_csr(x), isinstance(x, csr_matrix), isinstance(x, spmatrix)],
    "csr": csr_matrix,
    "csc": lambda x: csc_matrix(x, dtype="float64"),
    "coo": coo_matrix,
    "find": lambda x: list(find(x)),
    "kron": lambda x: kron(x, np.ones((1, 2))),
    "tril": tril,
    "diags": lambda x: csr_matrix(diags(np.arange(40.0)) @ x),
    "norm": lambda x: float(norm(x)),
    "norm of rows": lambda x: norm(x, axis=1),
    "largest norm": lambda x: float(norm(x, np.inf)),
    "svds": lambda x: np.sort(svds(x.astype("float64"), 2, random_state=0)[1]),
    "rank correlation": lambda x: spearmanr(x[:, :3].toarray()).statistic,
    "svd": lambda x: np.abs(TruncatedSVD(2, algorithm="arpack", random_state=0).fit(x).components_),
    "nmf": lambda x: NMF(2, init="nndsvd", max_iter=20).fit_transform(x),
    "k-means": lambda x: KMeans(3, n_init=1, random_state=0).fit_predict(x),
    "small batches": lambda x: MiniBatchKMeans(3, n_init=1, random_state=0).fit_predict(x),
    "variances": lambda x: VarianceThreshold(0.1).fit(x).variances_,
    "regression": lambda x: LogisticRegression(max_iter=20).fit(x, np.arange(40) % 2).coef_,
    "distances": pairwise_distances,
    "neighbors": lambda x: NearestNeighbors(n_neighbors=3).fit(x).kneighbors(x)[0],
    "scaler": lambda x: MaxAbsScaler().fit_transform(x),
    "scaler without mean": lambda x: StandardScaler(with_mean=False).fit_transform(x),
    "binary": binarize,
    "normalize": normalize,
    "normalize l1": lambda x: normalize(x, norm="l1", axis=0),
    "scale": lambda x: scale(x, with_mean=False),
    "checked": lambda x: csr_matrix(check_array(x, accept_sparse="csr")),
    "checked and copied": lambda x: csr_matrix(check_array(x, accept_sparse=["csc"], copy=True)),
    "checked as dense": lambda x: check_array(x),
    "masked": lambda x: csr_matrix(x[safe_mask(x, np.arange(40) % 2 == 0)]),
    "shuffled": lambda x: csr_matrix(shuffle(x, random_state=0)),
    "random svd": lambda x: randomized_svd(x, 2, random_state=0)[1],
    "products": lambda x: safe_sparse_dot(x, x.T, dense_output=True),
    "numbers": lambda x: [count_nonzero(x), count_nonzero(x, axis=0), count_nonzero(x, axis=1)],
    "mean and variance": lambda x: [*mean_variance_axis(x, axis=0), *mean_variance_axis(x, axis=1)],
    "extrema": lambda x: [*min_max_axis(x, axis=0), *min_max_axis(x, axis=1)],
    "column scale": lambda x: inplace_column_scale(x, np.arange(12, dtype="float32")) if x.format == "csr" else None,
}

def outcome(backed):
    found = {}
    for name, call in calls.items():
        x = sc.read_h5ad(sys.argv[1], backed=backed).X
        try:
            found[name] = call(x), csr_matrix(x.toarray())
        except Exception as error:
            found[name] = type(error).__name__, str(error)[:30]
    return found

pickle.dump([outcome(None), outcome("oom")], open(sys.argv[2], "wb"))
"""

ORDERS = {"before scanpy": NAMES + SCANPY, "after scanpy": SCANPY + NAMES}


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["csr", "csc"])
@pytest.mark.parametrize("order", ORDERS)
def test_names_that_are_imported_by_name_work_on_a_matrix_on_disk(order: str, kind: str, tmp_path: Path) -> None:
    annotated(counts(40, 12, density=0.5).asformat(kind)).write_h5ad(tmp_path / "a.h5ad")
    (tmp_path / "sitecustomize.py").write_text("import _scanpy_oom_activate as a; a.install()")  # as where installed
    (tmp_path / "script.py").write_text(ORDERS[order] + CALLS)
    paths = os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])
    command = [sys.executable, tmp_path / "script.py", tmp_path / "a.h5ad", tmp_path / "found.pickle"]
    done = subprocess.run(command, check=False, env={**os.environ, "PYTHONPATH": paths}, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    memory, lazy = pickle.loads((tmp_path / "found.pickle").read_bytes())
    assert [off for name in memory for off in differences(memory[name], lazy[name], name)] == []
