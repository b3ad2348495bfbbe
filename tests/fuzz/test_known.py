"""Few differences are meant, each for a reason that is shown; and nothing else passes for one of them."""

from __future__ import annotations

import runpy
from pathlib import Path

import pytest

from . import known

PAGE = Path(__file__).parents[2] / "docs" / "compatibility.md"


def find(op: str, kind: str, *diffs: str, x: str | None = None, before: str = "") -> dict:
    """What was found after a call."""
    made = {"seed": 0, "hist": [before, op], "op": op, "kind": kind, "diffs": [*diffs]}
    return made if x is None else made | {"matrices": {"X": x}, "read": {"X": x}}


def differ(memory: str, lazy: str, where: str = "adata.X", share: str = "2/40") -> str:
    """The text of a difference."""
    return f"{where}: {share} differ, most at (0, 1): np.float64({memory}) vs np.float64({lazy})"


MEANT = (
    find("out = sc.pp.log1p(adata)", "mem-raises", "ValueError: Input contains NaN.", "File"),
    find("out = sc.pp.regress_out(adata, ['q'])", "values", differ("2.3e-14", "-2.5e-14")),
    find("out = sc.pp.pca(adata)", "values", differ("0.3", "0.9", "adata.varm[PCs]")),
    find("out = sc.pp.scale(adata)", "values", differ("0.3", "0.9"), x="dense float64 rounding in 2 of 40"),
    find("out = sc.pp.scale(adata)", "values", differ("0.7241", "0.7246"), x="dense float16"),
    find("out = sc.pp.log1p(adata)", "values", differ("4.1", "2.3")) | {"in_order": True},
    find("out = sc.pp.combat(adata)", "values", "adata: is_view True vs False", "adata.X: format csr vs dense"),
    find("out = adata.X.nnz", "mem-raises", "AttributeError: 'ndarray' object has no attribute 'nnz'", "File"),
    find("out = np.sign(adata.X)", "mem-raises", "ValueError: The truth value of an array is ambiguous", "File"),
    find("sc.pp.sqrt(adata)", "mem-raises", "ValueError: scipy.sparse does not support dtype float16", "File"),
    find(
        "out = sc.tl.dendrogram(adata, 's', cor_method='spearman')",
        "values",
        differ("1.6", "1.3", "adata.uns[dendrogram_s][linkage]"),
    ),
    find("out = adata.X ** 2", "values", differ("1.0", "257.0", "out"), x="csr uint8"),
    find(
        "adata.uns['a'] = {}; out = sc.metrics.morans_i(adata)",
        "changed-after-error",
        "adata.uns: keys [] vs ['a']",
        "(err oom KeyError: 'X_pca')",
    ),
    find("sc.pp.sqrt(adata)", "mem-raises", "ValueError: array is read-only", before="out = sc.pp.combat(adata)"),
)
"""One of each kind, in order."""

NOT_MEANT = (
    find("out = sc.pp.scale(adata)", "mem-raises", "ValueError: Input contains NaN.", "File"),
    find("out = sc.pp.log1p(adata)", "oom-raises", "ValueError: Input contains NaN.", "File"),
    find("out = sc.pp.log1p(adata, chunked=True)", "values", "adata.X: dtype int64 vs float32"),
    find("out = sc.pp.regress_out(adata, ['q'])", "values", differ("2.3e-14", "1e-5")),
    find("out = sc.pp.log1p(adata)", "values", differ("2.3e-14", "inf")),
    find(
        "out = sc.pp.pca(adata)", "values", differ("0.3", "0.9", "adata.varm[PCs]"), differ("1", "2", "adata.obsm[P]")
    ),
    find("out = sc.pp.scale(adata)", "values", differ("1.0", "2.0"), x="dense float64"),
    find("out = sc.pp.scale(adata)", "values", differ("1", "2", share="9/40"), x="dense float64 rounding in 2 of 40"),
    find("out = sc.pp.scale(adata)", "values", differ("1.0", "2.0"), x="dense float16"),
    find("out = sc.pp.scale(adata)", "values", differ("1.0", "inf"), x="dense float16"),
    find("out = sc.pp.scale(adata)", "values", differ("1.0", "2.0"), x="csr float32 constant in 9 of 40"),
    find("out = sc.pp.log1p(adata)", "values", differ("4.1", "2.3"), x="csr float32 repeated") | {"in_order": False},
    find("out = sc.pp.log1p(adata)", "mem-raises", "ValueError: no") | {"in_order": True},
    find("out = sc.pp.scale(adata)", "values", "adata: is_view True vs False"),
    find("out = sc.pp.log1p(adata)", "mem-raises", "AttributeError: 'ndarray' object has no attribute 'nnz'"),
    find("out = np.sign(adata.X)", "oom-raises", "ValueError: something else"),
    find("out = sc.pp.scale(adata)", "values", differ("1.0", "2.0"), x="dense float64", before="adata.raw = adata"),
    find("out = sc.pp.scale(adata)", "values", differ("1.0", "2.0", "adata.raw.X"), before="adata.raw = None"),
    find("out = sc.tl.dendrogram(adata, 's')", "values", differ("1.6", "1.3", "adata.uns[dendrogram_s][linkage]")),
    find("out = adata.X ** 2", "values", "out: dtype uint8 vs uint16", x="csr uint8"),
    find("out = adata.X ** 2", "values", differ("1.0", "257.0", "out"), x="csr float32"),
    find("out = adata.to_df()", "values", "out[g0]: dtype float64 vs float32"),
    find("out = sc.pp.sqrt(adata)", "mem-raises", "ValueError: output array is read-only"),
    find(
        "out = sc.pp.highly_variable_genes(adata, flavor='cell_ranger')", "values", differ("0.7", "nan", "out[means]")
    ),
    find("out = sc.pp.highly_variable_genes(adata)", "oom-raises", "ValueError: Bin edges must be unique: [0]"),
    find("out = sc.get.aggregate(adata, 'g', ['count_nonzero'])", "values", differ("9", "10", "out"), x="csr float32"),
    find("out = sc.pp.scrublet(adata)", "values", differ("0.02", "0.04", "adata.obs[doublet_score]"), x="csr float32"),
    find("out = sc.pp.pca(adata)", "mem-raises", "ValueError: Input X contains NaN.", x="csr float32"),
)


def test_fewer_than_fifteen_differences_are_meant_each_with_a_reason():
    assert 0 < len(known.KNOWN) < 15
    assert len({entry.name for entry in known.KNOWN}) == len(known.KNOWN)
    for entry in known.KNOWN:
        assert len(entry.reason.split()) > 8
        assert entry.reason.endswith(".")


def test_the_page_of_compatibility_shows_what_is_meant():
    if not PAGE.is_file():
        pytest.skip("the documentation is not at hand")
    page = PAGE.read_text(encoding="utf-8")
    assert all(entry.name in page and entry.reason in page for entry in known.KNOWN)


@pytest.mark.parametrize("entry, one", [*zip(known.KNOWN, MEANT, strict=True)], ids=[e.name for e in known.KNOWN])
def test_what_is_meant_has_its_reason(entry, one):
    assert known.known(one) == entry.reason


@pytest.mark.parametrize("one", NOT_MEANT, ids=range(len(NOT_MEANT)))
def test_what_is_nearly_so_is_not_meant(one):
    assert known.known(one) is None


@pytest.mark.parametrize("kind", ["values", "oom-raises", "mem-raises", "errtype", "changed-after-error", "read"])
@pytest.mark.parametrize("function", ["scale", "log1p", "pca", "normalize_total", "highly_variable_genes"])
def test_other_values_are_not_meant(function, kind):
    assert known.known(find(f"out = sc.pp.{function}(adata)", kind, differ("1.0", "2.0"), x="csr float32")) is None


def test_all_that_differs_must_be_meant():
    large = differ("1.0", "1.1", "adata.obs[n]")
    for one in MEANT:
        if one["kind"] == "values" and not one.get("in_order"):
            assert known.known(one | {"diffs": [*one["diffs"], large]}) is None, one


def test_what_is_meant_can_be_loaded_by_its_path():
    loaded = runpy.run_path(known.__file__)
    assert all(loaded["known"](one) for one in MEANT)
