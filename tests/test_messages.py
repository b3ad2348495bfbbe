"""What users are told names their own line, whichever function has something to say."""

from __future__ import annotations

import inspect
import io
import sys
import warnings
from pathlib import Path

import anndata as ad
import numpy as np
import pytest
import scanpy as sc

import scanpy_oom
from scanpy_oom import messages
from scanpy_oom._scanpy import SCANPY_1_13

from .matrices import annotated, counts, pair


@pytest.fixture(scope="module", autouse=True)
def _enabled():
    scanpy_oom.enable()


@pytest.fixture
def adata() -> ad.AnnData:
    return pair(counts(60, 30))[1]


def halves() -> ad.AnnData:
    return pair(counts(60, 30) * np.float32(0.5))[1]


def knows(function, name: str) -> bool:
    return name in inspect.signature(function).parameters


def constant_gene(adata) -> None:
    adata.obsp["connectivities"] = sc.AnnData(counts(60, 60)).X
    adata.uns["neighbors"] = {"connectivities_key": "connectivities"}
    sc.metrics.morans_i(adata)


def lone_batch(adata) -> None:
    adata.obs["batch"] = ["alone", *["rest"] * 59]
    sc.pp.highly_variable_genes(adata, flavor="seurat_v3", n_top_genes=5, batch_key="batch")


def totals_found_by_another(adata) -> None:
    sc.pp.normalize_total(adata, target_sum=1e4)
    adata.X.sum()


def totals_found_by_scanpy(adata) -> None:
    sc.pp.normalize_total(adata, target_sum=1e4)
    sc.pp.pca(adata, n_comps=3)


V3 = {"flavor": "seurat_v3", "n_top_genes": 5}

WARNED_OF = {
    "a view": ("Received a view", lambda a: sc.pp.log1p(a[:50])),
    "a view that is scaled": ("Received a view", lambda a: sc.pp.scale(a[:50])),
    "a deprecated argument": ("use_highly_variable", lambda a: sc.pp.pca(a, n_comps=3, use_highly_variable=False)),
    "an unknown solver": (
        "Ignoring svd_solver",
        lambda a: sc.pp.pca(a, n_comps=3, svd_solver="auto", zero_center=False),
    ),
    "a former argument": ("parallel", lambda a: sc.pp.calculate_qc_metrics(a, percent_top=None, parallel=True)),
    "cells without counts": ("zero counts", lambda a: sc.pp.normalize_total(a)),
    "cells without counts, later": ("zero counts", totals_found_by_another),
    "cells without counts, within scanpy": ("zero counts", totals_found_by_scanpy),
    "no counts": ("non-integers", lambda _: sc.pp.highly_variable_genes(halves(), **V3)),
    "no counts for residuals": (
        "non-integers",
        lambda _: sc.experimental.pp.highly_variable_genes(halves()[:, 3:].copy(), n_top_genes=5),
    ),
    "no counts to normalize": (
        "non-integers",
        lambda _: sc.experimental.pp.normalize_pearson_residuals(halves()[4:, 3:].copy()),
    ),
    "a constant gene": ("constant", constant_gene),
    "arguments by position": ("positional", lambda a: sc.pp.normalize_total(a, 1e4)),
    "a deprecated function": ("normalize_total", lambda a: sc.pp.normalize_per_cell(a)),
    "cutoffs without effect": (
        "all cutoffs are ignored",
        lambda a: sc.pp.filter_genes_dispersion(sc.pp.log1p(a, copy=True), n_top_genes=5, min_disp=1),
    ),
}
if SCANPY_1_13:
    for gone in ("arguments by position", "a deprecated argument", "a deprecated function", "cutoffs without effect"):
        del WARNED_OF[gone]
if knows(sc.pp.highly_variable_genes, "filter_unexpressed_genes"):
    WARNED_OF["a batch of one"] = ("will be nan", lone_batch)
    WARNED_OF["an argument without effect"] = (
        "filter_unexpressed_genes",
        lambda a: sc.pp.highly_variable_genes(
            sc.pp.log1p(a, copy=True), batch_key="batch", filter_unexpressed_genes=False
        ),
    )


@pytest.mark.parametrize("case", WARNED_OF)
def test_a_warning_names_the_line_of_the_user(case, adata):
    message, call = WARNED_OF[case]
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        call(adata)
    ours = [one for one in caught if message in str(one.message)]
    assert ours
    assert {one.filename for one in ours} == {__file__}
    package = str(Path(scanpy_oom.__file__).parent)
    assert not [one for one in caught if one.filename.startswith(package)]


@pytest.mark.parametrize("case", sorted(WARNED_OF.keys() & {"a view", "a deprecated argument", "cells without counts"}))
def test_a_warning_that_is_an_error_is_raised_before_anything_is_changed(case, adata):
    x, call = adata.X._state, WARNED_OF[case][1]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(Warning):
            call(adata)
    assert adata.X._state is x
    assert not adata.uns


def test_a_file_without_a_matrix_is_warned_of_at_the_line_that_reads_it(tmp_path):
    ad.AnnData(obs=annotated(counts(5, 3)).obs).write_h5ad(tmp_path / "a.h5ad")
    with pytest.warns(UserWarning, match="no matrix to leave on disk") as caught:
        sc.read_h5ad(tmp_path / "a.h5ad", backed="oom")
    assert {one.filename for one in caught if "no matrix" in str(one.message)} == {__file__}


ASKED = """
class Asked:
    def __array__(self, dtype=None, copy=None):
        Asked.place = messages.place()
        return np.zeros(3)
"""


def test_the_line_that_called_is_found_beyond_libraries():
    names = {"__name__": "scanpy_oom.asked", "messages": messages, "np": np}
    exec(ASKED, names)  # as a module of ours, which is passed over
    asked = names["Asked"]
    np.asarray(asked())
    assert asked.place.file.endswith("test_messages.py")
    assert asked.place.code == "np.asarray(asked())"
    assert asked.place.library == ""
    np.testing.assert_array_equal(asked(), [0, 0, 0])
    assert asked.place.code == "np.testing.assert_array_equal(asked(), [0, 0, 0])"
    assert asked.place.library.startswith("numpy/testing/")


def test_messages_go_to_scanpys_log():
    before, sc.settings.logfile = sc.settings.logfile, io.StringIO()
    try:
        messages.warning("Something is the matter.")
        assert "Something is the matter." in sc.settings.logfile.getvalue()
    finally:
        sc.settings.logfile = before


def test_where_scanpy_is_not_loaded_they_go_to_the_standard_log(monkeypatch, caplog):
    monkeypatch.delitem(sys.modules, "scanpy")
    messages.warning("Something is the matter.")
    assert caplog.record_tuples == [("scanpy_oom", 30, "Something is the matter.")]
    assert not messages.is_silent()
