from __future__ import annotations

import inspect
import pickle
import sys
from collections.abc import Iterator
from types import ModuleType

import anndata as ad
import pytest
import scanpy as sc

import scanpy_oom
from scanpy_oom._scanpy import SCANPY_1_13
from scanpy_oom.dispatch.patching import patch as patching
from scanpy_oom.dispatch.registry import BUILTIN

from ...versions import has

Names = dict[tuple[str, str], object]


def bindings() -> Names:
    """Every name in every loaded module of anndata and scanpy."""
    modules = [(n, m) for n, m in sys.modules.items() if n.split(".")[0] in {"anndata", "scanpy"}]
    return {(n, key): value for n, m in modules if isinstance(m, ModuleType) for key, value in vars(m).items()}


@pytest.fixture
def plain() -> Iterator[Names]:
    """The bindings without this package."""
    scanpy_oom.disable()
    yield bindings()
    scanpy_oom.enable()


def changed(before: Names) -> set[tuple[str, str]]:
    now = bindings()
    return {where for where, value in before.items() if now[where] is not value}


def test_disabling_restores_every_binding(plain: Names) -> None:
    scanpy_oom.enable()
    assert changed(plain)
    scanpy_oom.disable()
    assert not changed(plain)
    assert bindings().keys() == plain.keys()


def test_disabling_restores_the_method_of_anndata(plain: Names) -> None:
    own = ad.AnnData.to_df
    scanpy_oom.enable()
    assert ad.AnnData.to_df is not own
    scanpy_oom.disable()
    assert ad.AnnData.to_df is own


def test_no_binding_of_a_wrapped_function_is_left_out(plain: Names) -> None:
    scanpy_oom.enable()
    wrapped = {id(plain[where]) for where in changed(plain)}
    assert {where for where, value in plain.items() if id(value) in wrapped} == changed(plain)


def test_functions_are_wrapped_under_all_their_names(plain: Names) -> None:
    scanpy_oom.enable()
    assert changed(plain) > {
        ("anndata", "read_h5ad"),
        ("anndata.io", "read_h5ad"),
        ("anndata._io.h5ad", "read_h5ad"),
        *([("scanpy", "read_h5ad"), ("scanpy", "read")] if not SCANPY_1_13 else []),
        ("scanpy.io" if SCANPY_1_13 else "scanpy.readwrite", "read_h5ad"),
        ("scanpy.preprocessing", "log1p"),
        ("scanpy.pp", "log1p"),
        ("scanpy.preprocessing._simple", "log1p"),
        *([("scanpy.plotting._qc", "normalize_total")] if not SCANPY_1_13 else []),
    }
    assert sc.tl.pca is sc.pp.pca
    assert sc.read_h5ad is ad.read_h5ad is ad.io.read_h5ad


def test_enabling_twice_wraps_once(plain: Names) -> None:
    scanpy_oom.enable()
    once = sc.pp.log1p
    scanpy_oom.enable()
    assert sc.pp.log1p is once
    assert once.__wrapped__ is plain["scanpy.preprocessing", "log1p"]


def test_a_function_that_was_bound_anew_is_wrapped_anew(plain: Names) -> None:
    def sqrt(data: object, *, copy: bool = False) -> str:
        return "another"

    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr(sc.pp, "sqrt", sqrt)
        scanpy_oom.enable()
        assert sc.pp.sqrt.__wrapped__ is sqrt
        assert sc.pp.sqrt(3) == "another"
        scanpy_oom.disable()
        assert sc.pp.sqrt is sqrt


@pytest.mark.parametrize("name", [override.function for override in BUILTIN if has(override.function)])
def test_a_wrapper_looks_like_what_it_wraps(name: str) -> None:
    scanpy_oom.disable()
    scanpy_oom.enable()  # for scanpy, once imported, hangs a function on what it finds: the wrappers that are there
    wrapper = patching.scanpys(name)
    function = wrapper.__wrapped__
    for attribute in ("__name__", "__qualname__", "__module__", "__doc__"):
        assert getattr(wrapper, attribute) == getattr(function, attribute)
    assert inspect.signature(wrapper) == inspect.signature(function)
    assert inspect.getsource(wrapper) == inspect.getsource(function)
    assert vars(wrapper) == vars(function) | {"__wrapped__": function}
    assert pickle.loads(pickle.dumps(wrapper)) is wrapper


def test_what_hangs_on_a_function_still_works() -> None:
    class Table(list):
        pass

    @sc.pp.log1p.register(Table)
    def _(data: Table, **kwargs: object) -> str:
        return "a table"

    assert sc.pp.log1p(Table()) == "a table"
    assert sc.pp.log1p.dispatch(Table) is _
