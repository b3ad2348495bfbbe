"""Random chains of calls leave behind out of memory what they do in memory; and the comparison is not blind."""

from __future__ import annotations

from pathlib import Path

import anndata as ad
import numpy as np
import pandas as pd
import pytest
from scipy import sparse

from scanpy_oom.matrix import OOMMatrix

from ..matrices import annotated, counts, oom
from . import chains
from .chains import run, script
from .compare import EXACT, differences
from .data import Files, made, put_in_order
from .known import described
from .terms import Infix, Name, Statement, adata, np_, sc
from .terms import ad as anndata

pytestmark = pytest.mark.filterwarnings("ignore")

GROUP = 20
"""Chains of one test."""

FIRST, LAST = 0, 200

PAGE = Path(__file__).parents[2] / "docs" / "compatibility.md"


@pytest.mark.parametrize("first", range(FIRST, LAST, GROUP))
def test_chains_leave_behind_the_same_in_memory_and_out_of_memory(first):
    faults = [str(chain) for chain in map(run, range(first, first + GROUP)) if chain.faults]
    assert not faults, "\n\n".join(faults)


# What is run


def test_a_chain_is_decided_by_its_number():
    assert run(7).code == run(7).code
    assert run(7).code != run(8).code


def test_the_code_that_a_chain_shows_does_what_it_did(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    chain = next(c for c in map(run, range(50)) if c.status == "same" and len(c.code) > 2)
    names: dict = {}
    exec(script(chain.seed, chain.code), names)
    assert isinstance(names["adata"], ad.AnnData)


@pytest.mark.parametrize(
    "term, code",
    [
        (sc.pp.scale(adata, max_value=10, mask_obs=None), "sc.pp.scale(adata, max_value=10, mask_obs=None)"),
        (adata[::2, ["g1"]].copy(), "adata[::2, ['g1']].copy()"),
        (Infix(adata.X, "@", np_.ones(adata.n_vars)), "adata.X @ np.ones(adata.n_vars)"),
        (anndata.concat({"k": adata}, fill_value=float("nan")), "ad.concat({'k': adata}, fill_value=np.nan)"),
        (adata[np.array([True, False])], 'adata[np.array([True, False], dtype="bool")]'),
    ],
)
def test_a_term_is_shown_as_the_code_that_it_is(term, code):
    assert str(Statement(term, Name("out"))) == f"out = {code}"


def test_statements_set_variables_attributes_and_items_and_delete_items():
    names = {"adata": annotated(counts(4, 3)), "np": np}
    Statement(Infix(adata.X, "*", 2), adata.X).run(names)
    Statement(adata.X.copy(), adata.layers["twice"]).run(names)
    Statement(adata[:2], Name("part")).run(names)
    np.testing.assert_array_equal(names["part"].layers["twice"].toarray(), 2 * counts(4, 3).toarray()[:2])
    Statement(None, adata.layers["twice"]).run(names)
    assert not [name for name in names["adata"].layers if name]


def test_data_are_of_every_kind(tmp_path):
    forms, dtypes = set(), set()
    for seed in range(150):
        x = made(seed).X
        forms.add(x.format if sparse.issparse(x) else "dense")
        dtypes.add(x.dtype.str[1:])
    assert forms == {"csr", "csc", "dense"}
    assert {"f4", "f8", "i4", "i8", "b1"} <= dtypes
    assert differences(Files(tmp_path).made(3), Files(tmp_path, "oom").made(3)) == []


def test_entries_are_put_in_order_and_keep_their_sum():
    adata = next(a for a in map(made, range(200)) if "repeated" in described(a)["X"])
    before = adata.X.toarray()
    put_in_order(adata)
    assert not {"repeated", "unsorted"} & {*described(adata)["X"].split()}
    np.testing.assert_array_equal(adata.X.toarray(), before)


# What the comparison sees


def both() -> tuple[ad.AnnData, ad.AnnData]:
    """An AnnData with something everywhere, in memory and out of memory."""
    memory = annotated(counts(8, 5))
    memory.layers["counts"] = memory.X.copy()
    memory.obsm["X_pca"] = np.arange(16.0).reshape(8, 2)
    memory.uns["name"] = {"list": [1, 2.5, "a"], "table": np.rec.fromarrays([[1.0, 2.0]], names=["A"])}
    memory.raw = memory.copy()
    lazy = memory.copy()
    lazy.X = oom(memory.X)
    return memory, lazy


def test_what_is_alike_does_not_differ():
    memory, lazy = both()
    memory.X.data *= 1 + 1e-6
    assert differences(memory, lazy) == []
    assert differences(memory, lazy, tolerance=EXACT) != []


def _value(a):
    a.X = oom(a.X.to_memory() * 2)


def _one_value(a):
    x = a.X.to_memory()
    x.data[3] += 1
    a.X = oom(x)


CHANGES = {
    "a value of X": (_one_value, "adata.X: 1/40 differ"),
    "the values of X": (_value, "adata.X: "),
    "the dtype of X": (lambda a: setattr(a, "X", a.X.astype("float64")), "adata.X: dtype float32 vs float64"),
    "the format of X": (lambda a: setattr(a, "X", oom(a.X.to_memory().tocsc())), "adata.X: format csr vs csc"),
    "a dense X": (lambda a: setattr(a, "X", oom(a.X.to_memory().toarray())), "adata.X: format csr vs dense"),
    "a layer": (lambda a: a.layers["counts"].data.__setitem__(0, 9), "adata.layers[counts]: 1/40 differ"),
    "a missing layer": (lambda a: a.layers.pop("counts"), "adata.layers: keys "),
    "a column": (lambda a: a.obs.insert(0, "new", 1), "adata.obs: columns "),
    "the order of columns": (lambda a: setattr(a, "obs", a.obs[["batch", "kind"]]), "adata.obs: columns "),
    "a name": (lambda a: setattr(a, "obs_names", ["x", *a.obs_names[1:]]), "adata.obs.index: "),
    "the name of names": (lambda a: setattr(a.var.index, "name", "n"), "adata.var.index: name None vs 'n'"),
    "a label": (lambda a: a.obs.__setitem__("kind", a.obs["kind"].iloc[::-1].values), "adata.obs[kind]: "),
    "the dtype of labels": (lambda a: a.obs.__setitem__("kind", a.obs["kind"].astype(str)), "adata.obs[kind]: dtype"),
    "the order of labels": (
        lambda a: a.obs.__setitem__("kind", a.obs["kind"].cat.reorder_categories(["k1", "k0", "k2"])),
        "adata.obs[kind]: categories ",
    ),
    "a flag": (lambda a: a.var.__setitem__("mt", ~a.var["mt"]), "adata.var[mt]: 5/5 differ"),
    "coordinates": (lambda a: a.obsm["X_pca"].__setitem__((1, 1), np.nan), "adata.obsm[X_pca]: 1/16 differ"),
    "the order of uns": (lambda a: a.uns.__setitem__("name", dict(reversed(a.uns["name"].items()))), "adata.uns[name]"),
    "a type in a list": (lambda a: a.uns["name"]["list"].__setitem__(0, 1.0), "adata.uns[name][list][0]: type int vs"),
    "a text in a list": (lambda a: a.uns["name"]["list"].__setitem__(2, "b"), "adata.uns[name][list][2]: 'a' vs 'b'"),
    "a field of a table": (lambda a: a.uns["name"]["table"]["A"].__setitem__(0, 7), "adata.uns[name][table].A: 1/2"),
    "no raw": (lambda a: setattr(a, "raw", None), "adata.raw: None? "),
    "raw": (lambda a: a.raw.X.data.__setitem__(0, 9), "adata.raw.X: 1/40 differ"),
}


@pytest.mark.parametrize("what", CHANGES)
def test_the_comparison_sees(what):
    memory, lazy = both()
    change, text = CHANGES[what]
    change(lazy)
    found = differences(memory, lazy)
    assert len(found) == 1, found
    assert found[0].startswith(text)


def test_the_comparison_sees_a_view_a_shape_and_types_of_results():
    memory, lazy = both()
    assert differences(memory[:], lazy) == ["adata: is_view True vs False"]
    assert differences(memory, lazy[:4].copy()) == ["adata: shape (8, 5) vs (4, 5)"]
    assert differences(np.float32(1), np.float64(1), "out") == ["out: type float32 vs float64"]
    assert differences(np.matrix([[1.0]]), np.array([[1.0]]), "out") == ["out: format matrix vs dense"]
    assert differences(None, pd.Series([1]), "out") == ["out: type NoneType vs Series"]
    assert differences(np.inf, 1.0, "out") == ["out: 1/1 differ, most at (): np.float64(inf) vs np.float64(1.0)"]


def test_the_comparison_shows_the_pair_that_is_farthest_apart():
    want, got = np.array([1.0, 2.0, 3.0]), np.array([1.1, 7.0, 3.0])
    assert differences(want, got, "out") == ["out: 2/3 differ, most at (1,): np.float64(2.0) vs np.float64(7.0)"]


# What a chain sees, besides


def one_step(statement: Statement, memory: ad.AnnData, lazy: ad.AnnData) -> list[tuple[str, str]]:
    """The kinds of what is found after a statement, and the texts."""
    chain = chains.Chain(0)
    names = ({"adata": a, "np": np, "sc": chains.sc, "out": None, "fail": fail} for a in (memory, lazy))
    chains._step(chain, statement, *names, show=False)
    return [(find["kind"], find["diffs"][0]) for find in chain.faults]


def fail(adata: ad.AnnData, what: str = "") -> None:
    """Fails out of memory, or in both, having changed something or not."""
    is_lazy = isinstance(adata.X, OOMMatrix)
    if what == "changes" and is_lazy:
        adata.uns["half"] = 1
    if what == "other" and is_lazy:
        raise KeyError(what)
    if what != "alone" or is_lazy:
        raise ValueError(what)


@pytest.mark.parametrize(
    "what, kinds",
    [("alike", []), ("alone", ["oom-raises"]), ("other", ["errtype"]), ("changes", ["changed-after-error"])],
)
def test_a_chain_sees_errors_that_are_not_the_same_and_what_they_leave(what, kinds):
    found = one_step(Statement(Name("fail")(adata, what), Name("out")), *both())
    assert [kind for kind, _ in found] == kinds


def test_a_chain_sees_an_error_in_memory_alone():
    memory, lazy = both()
    found = one_step(Statement(Name("fail")(adata, "alone"), Name("out")), lazy, memory)
    assert [kind for kind, _ in found] == ["mem-raises"]


def test_a_chain_sees_what_a_call_returns():
    memory, lazy = both()
    lazy.uns["name"]["list"][0] = 2
    found = one_step(Statement(adata.uns["name"]["list"][0], Name("out")), memory, lazy)
    assert found[0][0] == "values"
