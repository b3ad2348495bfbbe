"""Functions of packages that work on AnnData give out of memory what they give in memory.

Run by hand, as ``tox -e downstream``, which installs the packages.
"""

from __future__ import annotations

import importlib
from pathlib import Path
from tempfile import TemporaryDirectory

import anndata as ad
import numpy as np
import pytest
import scanpy as sc
from scipy import sparse

import scanpy_oom
from scanpy_oom import OOMMatrix, settings

from ..fuzz.compare import differences

pytestmark = pytest.mark.filterwarnings("ignore")


def prepared(path) -> None:
    """Write data with what these packages want: spliced and unspliced counts, a PCA, coordinates."""
    rng = np.random.default_rng(0)
    x = sparse.csr_matrix(rng.poisson(1.0, (200, 80)).astype("float32"))
    a = ad.AnnData(x)
    a.obs_names, a.var_names = [f"c{i}" for i in range(200)], [f"g{i}" for i in range(80)]
    a.obs["group"], a.obs["batch"] = (
        np.array(["A", "B"])[np.arange(200) % 2],
        np.array(["x", "y"])[np.arange(200) // 100],
    )
    a.layers["counts"], a.layers["spliced"] = x.copy(), x.copy()
    a.layers["unspliced"] = sparse.csr_matrix(rng.poisson(0.5, (200, 80)).astype("float32"))
    sc.pp.normalize_total(a, target_sum=1e4)
    sc.pp.log1p(a)
    sc.pp.pca(a, n_comps=10)
    a.write_h5ad(path)


def scvelo_filter(a):
    importlib.import_module("scvelo").pp.filter_and_normalize(a, min_shared_counts=1)


def scvelo_moments(a):
    scvelo = importlib.import_module("scvelo")
    sc.pp.neighbors(a, n_neighbors=10, random_state=0)
    scvelo.pp.moments(a, n_pcs=None, n_neighbors=None)


def muon_clr(a):
    importlib.import_module("muon").prot.pp.clr(a)


def muon_binarize(a):
    importlib.import_module("muon").atac.pp.binarize(a)


def muon_tfidf(a):
    importlib.import_module("muon").atac.pp.tfidf(a)


def scanorama(a):
    parts = [a[a.obs["batch"] == batch].copy() for batch in ("x", "y")]
    importlib.import_module("scanorama").integrate_scanpy(parts, dimred=5, seed=0)
    return [part.obsm["X_scanorama"].shape for part in parts]


def cytotrace(a):
    cellrank = importlib.import_module("cellrank")
    sc.pp.neighbors(a, n_neighbors=10, random_state=0)
    a.layers["Ms"] = a.X.copy()
    cellrank.kernels.CytoTRACEKernel(a).compute_cytotrace(layer="Ms")
    return a.obs.pop("ct_pseudotime").round(3).to_numpy()


def phate(a):
    found = importlib.import_module("phate").PHATE(n_pca=10, random_state=0, verbose=False)
    coordinates = found.fit_transform(a)
    sc.external.tl.phate(a, n_pca=10, random_state=0, k=5, verbose=False)
    return [coordinates, type(found.graph.data_pca).__name__]


def _multimodal(a):
    """Return a MuData of this object and another."""
    protein = a[:, :30].copy()
    protein.var_names = [f"protein {i}" for i in range(30)]
    return importlib.import_module("mudata").MuData({"rna": a, "protein": protein})


def _parts(mdata):
    """Return what a MuData holds."""
    return {"obs": mdata.obs, "var": mdata.var, "obsm": dict(mdata.obsm), **{name: mdata[name] for name in mdata.mod}}


def mudata_made(a):
    mdata = _multimodal(a)
    assert mdata["rna"].X is a.X
    return _parts(mdata)


def mudata_updated(a):
    mdata = _multimodal(a)
    sc.pp.filter_cells(mdata["rna"], min_genes=45)
    sc.pp.filter_genes(mdata["protein"], min_cells=120)
    mdata.update()
    mdata.pull_obs()
    return _parts(mdata)


def mudata_subset(a):
    mdata = _multimodal(a)
    view = mdata[mdata.obs_names[::3]]
    return [_parts(view), _parts(view.copy()), _parts(mdata[:, ["g3", "protein 4"]].copy()), _parts(mdata.copy())]


def mudata_as_one(a):
    return importlib.import_module("mudata").to_anndata(_multimodal(a))


def mudata_intersected(a):
    mdata = _multimodal(a)
    muon = pytest.importorskip("muon")
    muon.pp.filter_obs(mdata["rna"], "group", lambda group: group == "A")
    muon.pp.intersect_obs(mdata)
    return _parts(mdata)


def mudata_written(a):
    mudata = importlib.import_module("mudata")
    with TemporaryDirectory() as folder:
        path = Path(folder) / "a.h5mu"
        mdata = _multimodal(a)
        mdata.write(path)
        whole = _parts(mudata.read_h5mu(path))
        mdata[:50].write(path)
        return [whole, _parts(mudata.read_h5mu(path)), mudata.read_h5ad(path, "rna")]


PACKAGES = {
    "mudata": [mudata_made, mudata_updated, mudata_subset, mudata_as_one, mudata_intersected, mudata_written],
    "scvelo": [scvelo_filter, scvelo_moments],
    "muon": [muon_clr, muon_binarize, muon_tfidf],
    "phate": [phate],
    "scanorama": [scanorama],
    "cellrank": [cytotrace],
}


@pytest.mark.parametrize("package, function", [(p, f) for p, functions in PACKAGES.items() for f in functions])
def test_a_function_of_a_package_does_what_it_does_in_memory(package, function, tmp_path):
    pytest.importorskip(package)
    prepared(tmp_path / "a.h5ad")
    found = []
    for backed in (None, "oom"):
        a = ad.read_h5ad(tmp_path / "a.h5ad", backed=backed)
        found.append((function(a), a))
    (want, memory), (got, lazy) = found
    assert differences(want, got, "returned") == []
    assert differences(memory, lazy) == []


@pytest.mark.parametrize("made", [mudata_made, mudata_updated, mudata_subset])
def test_what_is_made_of_several_modalities_stays_on_disk(made, tmp_path):
    pytest.importorskip("mudata")
    prepared(tmp_path / "a.h5ad")
    found = made(ad.read_h5ad(tmp_path / "a.h5ad", backed="oom"))
    for parts in found if isinstance(found, list) else [found]:
        assert all(isinstance(parts[name].X, OOMMatrix) for name in ("rna", "protein"))


def test_a_modality_is_read_where_all_is_left_on_disk(tmp_path):
    mudata = pytest.importorskip("mudata")
    prepared(tmp_path / "a.h5ad")
    _multimodal(ad.read_h5ad(tmp_path / "a.h5ad")).write(tmp_path / "a.h5mu")
    want = mudata.read_h5ad(tmp_path / "a.h5mu", "rna")
    settings.read = "always"
    lazy = mudata.read_h5ad(tmp_path / "a.h5mu", "rna")
    assert isinstance(lazy.X, OOMMatrix)
    assert differences(want, lazy) == []
    with pytest.raises(OSError, match="already open"):  # what is read from is not written over
        _multimodal(want).write(tmp_path / "a.h5mu")
    assert differences(want, lazy) == []
    scanpy_oom.report(clear=True)
    whole = mudata.read_h5mu(tmp_path / "a.h5mu")  # by way of an open file, which has no name
    assert differences(want, whole["rna"]) == []
    assert {call.function for call in scanpy_oom.report().calls if call.how == "materialised"} == {"read_elem"}
