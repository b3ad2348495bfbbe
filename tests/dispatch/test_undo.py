"""A call that fails, wherever it does, leaves AnnData as they were."""

from __future__ import annotations

import ctypes
import random
import signal
import sys
import warnings
from collections import OrderedDict
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType
from typing import Any

import anndata as ad
import numpy as np
import pandas as pd
import pytest
import scanpy as sc
from scipy import sparse

from scanpy_oom import OOMMatrix
from scanpy_oom._scanpy import SCANPY_1_13
from scanpy_oom.dispatch.undo import Held

from ..engine.test_interrupt import OVERRIDES, logarithms
from ..matrices import counts, oom, pair
from ..versions import has

POINTS = 5
"""At how many calls of Python functions each call of scanpy is interrupted, beside those at its end."""


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def described(value: Any) -> Any:
    """Return what can be compared with that of another value of the same kind."""
    if isinstance(value, OOMMatrix):
        return repr(value)
    if isinstance(value, pd.DataFrame):
        return [list(value.index), value.index.name, [(name, described(column)) for name, column in value.items()]]
    if isinstance(value, pd.Series):
        return [str(value.dtype), described(value.to_numpy())]
    if sparse.issparse(value):
        return [type(value).__name__, described(value.toarray())]
    if isinstance(value, np.ndarray):
        return [str(value.dtype), value.shape, repr(value.tolist())]
    if isinstance(value, dict):
        return [(key, described(item)) for key, item in value.items()]
    return repr(value)


def held(adata: ad.AnnData) -> dict[str, Any]:
    """What an AnnData holds."""
    parts = {name: described(dict(getattr(adata, name))) for name in ("uns", "obsm", "varm", "obsp", "varp")}
    parts |= {"layers": described({name or "X": layer for name, layer in adata.layers.items()})}
    parts |= {name: described(getattr(adata, name)) for name in ("shape", "is_view", "X", "obs", "var")}
    return parts | ({} if adata.raw is None else {"raw": described([adata.raw.shape, adata.raw.X])})


def objects(adata: ad.AnnData) -> list[Any]:
    """What users may have names for."""
    return [adata.obs, adata.var] if adata.is_view else [adata.obs, adata.var, adata.X, adata.uns]


class Interrupt:
    """Interrupts `call` as Ctrl-C does, at one of the calls of Python functions that it makes; -1 for none."""

    def __init__(self, call: Callable[[], object], at: int = -1) -> None:
        self.n = 0
        self.came = self._sent = False
        self._at = at
        before = signal.signal(signal.SIGINT, signal.default_int_handler)
        sys.setprofile(self._profile)
        try:
            call()
            repr(None)  # where one comes that has not come yet
        except KeyboardInterrupt:
            self.came = True
        # of a condition of the standard library, or a compiled function of numba, that was interrupted half-way
        except (RuntimeError, SystemError) as error:
            self.came = isinstance(error.__cause__ or error.__context__, KeyboardInterrupt)
            if not self.came:
                raise
        finally:
            sys.setprofile(None)
            signal.signal(signal.SIGINT, before)

    def _profile(self, frame: FrameType, event: str, arg: object) -> None:
        if event != "call":
            return
        self.n += 1
        if self.n >= self._at >= 0 and not self._sent:
            self._sent = True
            interrupt_after_this()


def interrupt_after_this() -> None:
    """Let Python find an interrupt once the profiler has returned, where it looks for signals.

    An exception that a profiler raises itself comes where no signal can, and Python 3.11 garbles its stack there.
    """
    # Python makes a pending call at the end of this call, and looks for signals no more until the next one
    ctypes.pythonapi.Py_AddPendingCall(ctypes.pythonapi.PyErr_SetInterruptEx, ctypes.c_void_p(signal.SIGINT))


def with_layers(adata: ad.AnnData) -> None:
    adata.layers["counts"] = adata.X
    adata.obsm["X_pca"] = np.arange(2.0 * adata.n_obs).reshape(-1, 2) ** 1.5
    adata.uns["nested"] = {"within": {"value": 1}}
    adata.raw = adata


def dense(adata: ad.AnnData) -> None:
    adata.X = oom(adata.X.toarray() ** 2 + 1)


def booleans(adata: ad.AnnData) -> None:
    with_layers(adata)
    adata.X = oom(adata.X.to_memory() > 2)


def neighbored(adata: ad.AnnData) -> None:
    with_layers(adata)
    sc.pp.neighbors(adata, n_neighbors=4, method="gauss")


MORE = {
    **(
        {"pp.normalize_per_cell of layers": (with_layers, lambda a: sc.pp.normalize_per_cell(a, layers=["counts"]))}
        if has("pp.normalize_per_cell")
        else {}
    ),
    "pp.log1p": (None, lambda a: sc.pp.log1p(a)),
    "pp.sqrt": (None, lambda a: sc.pp.sqrt(a)),
    "pp.filter_genes with all else": (with_layers, lambda a: sc.pp.filter_genes(a, min_counts=150)),
    "pp.log1p of obsm": (with_layers, lambda a: sc.pp.log1p(a, obsm="X_pca")),
    "pp.scale of a layer": (with_layers, lambda a: sc.pp.scale(a, layer="counts")),
    "pp.scale in memory": (booleans, lambda a: sc.pp.scale(a)),
    "pp.neighbors": (neighbored, lambda a: sc.pp.neighbors(a, n_neighbors=5, method="gauss")),
    "pp.neighbors in memory": (with_layers, lambda a: sc.pp.neighbors(a, use_rep="X", method="gauss")),
    "pp.recipe_zheng17": (None, lambda a: sc.pp.recipe_zheng17(a, n_top_genes=9)),
    "pp.recipe_weinreb17": (dense, lambda a: sc.pp.recipe_weinreb17(a, n_pcs=3, mean_threshold=0, cv_threshold=0)),
    "pp.subsample": (with_layers, lambda a: sc.pp.subsample(a, 0.5)),
    "tl.score_genes_cell_cycle": (
        logarithms,
        lambda a: sc.tl.score_genes_cell_cycle(a, s_genes=["gene6", "gene7"], g2m_genes=["gene8", "gene9"]),
    ),
    "tl.paga": (neighbored, lambda a: sc.tl.paga(a, "kind")),
    "tl.diffmap": (neighbored, lambda a: sc.tl.diffmap(a, n_comps=3)),
}

CALLS = OVERRIDES | MORE
del CALLS["tl.ingest"]  # which takes seconds

SLOW = ("pl.highest_expr_genes", "pp.scrublet")

OF_VIEWS = ("pp.log1p", "pp.filter_cells", "pp.scale", "pp.normalize_total", "pp.scale in memory")


@pytest.fixture(scope="module", autouse=True)
def every_function(h5ad: Path) -> None:
    """Have all that is public wrapped, as it is since the first file was read."""
    sc.read_h5ad(h5ad, backed="oom")


def prepared(before: Callable[[ad.AnnData], object] | None) -> ad.AnnData:
    x = counts(90, 60, density=0.6)
    x = x[np.flatnonzero(x.sum(axis=1).A1)]
    adata = pair(x[:, np.flatnonzero(x.sum(axis=0).A1)])[1]
    if before is not None:
        before(adata)
    return adata


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # a finalizer that was interrupted
@pytest.mark.parametrize("name", [*CALLS, *(f"{name} of a view" for name in OF_VIEWS)])
def test_an_interrupt_anywhere_leaves_all_that_was_there_or_all_that_is_new(name: str) -> None:
    before, function = CALLS[name.removesuffix(" of a view")]
    base = prepared(before)

    def made() -> ad.AnnData:
        return base[::2] if name.endswith("of a view") else base.copy()

    for _ in range(2):  # so that what is imported, compiled and found out once is there
        function(made())
    done = made()
    held(done)  # as below, since it makes what is made once
    n = Interrupt(lambda: function(done)).n
    new = held(done)
    came = []
    anywhere = random.Random(name).sample(range(1, n), 0 if name in SLOW else POINTS)
    for at in [n, n - 2, n - 9, n - 40, n - n // 100, *anywhere]:
        one = made()
        old, had = held(one), objects(one)
        came.append(Interrupt(lambda one=one: function(one), at).came)
        found = held(one)
        if found == old:
            assert came[-1] or old == new, (at, n)
            assert all(a is b for a, b in zip(objects(one), had, strict=True)), (at, n)
        else:
            assert found == new, (at, n)
    assert any(came), "an interrupt in a finalizer, where Python drops it, is no test"


def test_what_an_error_was_found_in_is_as_it_was(h5ad: Path) -> None:
    fails = {
        "normalize_per_cell": (
            (lambda a: sc.pp.normalize_per_cell(a, layers=["none"])) if has("pp.normalize_per_cell") else None
        ),
        "recipe_seurat": lambda a: sc.pp.recipe_seurat(a),
        "recipe_zheng17": None if SCANPY_1_13 else lambda a: sc.pp.recipe_zheng17(a, log=False),
        "scale": lambda a: sc.pp.scale(a, obsm="X_pca"),
        "rank_genes_groups": lambda a: sc.tl.rank_genes_groups(a, "text", groups=["none"]),
    }
    for name, call in fails.items():
        if call is None:  # of a function that is not there
            continue
        adata = sc.read_h5ad(h5ad, backed="oom")[:, :40].copy()
        adata.obs["text"] = ["a", "b", "c"] * 30
        for one in (adata, adata[::2]):
            old, had = held(one), objects(one)
            with pytest.raises((ValueError, KeyError, IndexError)):
                call(one)
            assert held(one) == old, name
            assert all(a is b for a, b in zip(objects(one), had, strict=True)), name


def test_arrays_and_columns_that_users_hold_are_those_of_the_object_after_a_call_that_ends_well(h5ad: Path) -> None:
    adata = sc.read_h5ad(h5ad, backed="oom")
    obs, obsm, uns, pca = adata.obs, adata.obsm["X_pca"], adata.uns, adata.obsm["X_pca"].copy()
    sc.tl.score_genes(adata, ["gene1", "gene2"], use_raw=False)
    sc.pp.log1p(adata, obsm="X_pca")
    assert adata.obs is obs
    assert "score" in obs
    assert adata.uns is uns
    assert adata.obsm["X_pca"] is obsm
    np.testing.assert_array_equal(obsm, np.log1p(pca))


def test_nested_and_ordered_dictionaries_and_data_frames_come_back_in_place() -> None:
    adata = prepared(with_layers)
    adata.obsm["frame"] = pd.DataFrame({"a": np.arange(adata.n_obs)}, index=adata.obs_names)
    adata.uns["ordered"] = OrderedDict(a=1, b=2)
    adata.obs["number"] = 1.0
    old, had = held(adata), objects(adata)
    nested, ordered, raw = adata.uns["nested"]["within"], adata.uns["ordered"], adata.raw
    undo = Held([adata]).undo
    nested["more"] = nested
    nested["value"] = 2
    ordered.move_to_end("a")
    ordered["c"] = 3
    adata.obs["kind"] = 0
    adata.obs["number"] = 2.0
    adata.obs.drop(columns="batch", inplace=True)
    adata.var["new"] = 0
    adata.obsm["frame"]["b"] = 0
    adata.raw.var["new"] = 1
    del adata.layers["counts"]
    adata._inplace_subset_obs(np.arange(3))
    undo()
    assert held(adata) == old
    assert all(a is b for a, b in zip(objects(adata), had, strict=True))
    assert adata.uns["nested"]["within"] is nested
    assert list(ordered) == ["a", "b"]
    assert list(reversed(ordered)) == ["b", "a"]
    assert adata.raw is raw
    assert "new" not in raw.var
    adata.obs["works"] = 1
    assert adata[:5].obs["works"].tolist() == [1] * 5


def test_what_is_lent_comes_back_with_its_arrays() -> None:
    adata = prepared(with_layers)
    adata.obs["number"] = 1.0
    old = held(adata)
    remembered = Held([adata])
    remembered.deepen([adata])
    adata.obsm["X_pca"][:] = 0
    adata.obs["number"] += 1
    adata.obs.loc["cell1", "number"] = 7
    remembered.undo()
    assert held(adata) == old
