from __future__ import annotations

import inspect
import warnings
from functools import wraps
from operator import attrgetter
from typing import Any

import anndata as ad
import pytest
import scanpy as sc

from scanpy_oom import UnsupportedOutOfMemory
from scanpy_oom.dispatch.arguments import bind, for_override, unread
from scanpy_oom.dispatch.plugins.manager import overrides
from scanpy_oom.dispatch.resolve import look

from ..versions import before_1_13


def arguments(function: Any, *args: Any, **kwargs: Any) -> dict[str, Any]:
    return bind(function, args, kwargs).arguments


def test_defaults_are_those_of_the_installed_scanpy(memory: ad.AnnData) -> None:
    bound = arguments(sc.pp.highly_variable_genes, memory)
    assert next(iter(bound.values())) is memory
    signature = inspect.signature(sc.pp.highly_variable_genes)
    assert {k: v for k, v in bound.items() if k != "adata"} == {
        name: parameter.default for name, parameter in signature.parameters.items() if name != "adata"
    }


@before_1_13
def test_arguments_that_once_were_positional_still_are(memory: ad.AnnData) -> None:
    with pytest.warns(FutureWarning, match="no longer positional.*target_sum=10000") as ours:
        bound = arguments(sc.pp.normalize_total, memory, 1e4)
    assert bound["target_sum"] == 1e4
    with pytest.warns(FutureWarning, match="no longer positional") as scanpys:
        inspect.unwrap(sc.pp.normalize_total, stop=lambda f: not hasattr(f.__wrapped__, "__wrapped__"))(memory, 1e4)
    assert str(ours[0].message) == str(scanpys[0].message)


@before_1_13
def test_arguments_that_once_had_another_name_still_have_it(memory: ad.AnnData) -> None:
    with pytest.warns(FutureWarning, match="`X` was renamed to `data`"):
        assert arguments(sc.pp.log1p, X=memory, base=2)["data"] is memory


@before_1_13
def test_a_warning_of_a_former_signature_names_the_line_of_the_call(memory: ad.AnnData) -> None:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        bind(sc.pp.normalize_total, (memory, 1e4), {})
    assert [warning.filename for warning in caught] == [__file__]


@pytest.mark.parametrize(
    ("args", "kwargs"), [((), {}), ((1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12), {}), ((1,), {"no_such": 2})]
)
def test_arguments_that_do_not_fit_are_refused(args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    with pytest.raises(TypeError):
        bind(sc.pp.normalize_total, args, kwargs)


def scanpys(adata: Any, groupby: str, *, layer: str | None = None, future: int = 0, **kwds: Any) -> None:
    """Stands for a later version of a scanpy function."""


def ours(adata: Any, groupby: str, *, layer: str | None = None, former: int = 1, **kwds: Any) -> None:
    """Knows any argument."""


def strict(adata: Any, groupby: str, *, layer: str | None = None, former: int = 1) -> None:
    """Knows those arguments alone."""


def test_an_override_gets_every_argument_by_name_but_the_first() -> None:
    bound = bind(scanpys, ("A", "kind"), {"max_iter": 3})
    args, kwargs, unknown = for_override(bound, ours)
    assert (args, unknown) == (["A"], None)
    assert kwargs == {"groupby": "kind", "layer": None, "future": 0, "max_iter": 3}


def test_an_unknown_argument_is_left_out_while_it_has_its_default() -> None:
    args, kwargs, unknown = for_override(bind(scanpys, ("A", "kind"), {}), strict)
    assert (args, kwargs, unknown) == (["A"], {"groupby": "kind", "layer": None}, None)


@pytest.mark.parametrize("given", [{"future": 2}, {"max_iter": 3}])
def test_an_unknown_argument_that_says_something_is_named(given: dict[str, int]) -> None:
    *_, unknown = for_override(bind(scanpys, ("A", "kind"), given), strict)
    assert unknown in given


def test_positional_only_arguments_stay_positional() -> None:
    def positional(a: int, b: int, /, c: int = 0, *rest: int) -> None: ...

    args, kwargs, unknown = for_override(bind(positional, (1, 2), {}), positional)
    assert (args, kwargs, unknown) == ([1, 2], {"c": 0}, None)


@pytest.mark.parametrize("name", overrides())
def test_every_decorator_of_the_installed_scanpy_is_read(name: str) -> None:
    try:
        function = attrgetter(name)(sc)
    except AttributeError:
        pytest.skip(f"this scanpy has no sc.{name}")
    assert unread(function.__wrapped__) == ()


def test_what_a_decorator_may_take_after_all_runs_on_data_in_memory(oom: ad.AnnData) -> None:
    @wraps(sc.pp.sqrt.__wrapped__)
    def with_former_name(data: ad.AnnData | None = None, *, X: ad.AnnData | None = None) -> Any:
        return sc.pp.sqrt(data if X is None else X)

    call = look(with_former_name, "pp.sqrt", (), {"X": oom})
    assert call is not None
    assert [item.slot for item in call.used] == ["X", "layers/counts", "raw/X"]
    assert call.implementation is not None
    with pytest.raises(UnsupportedOutOfMemory, match=f"argument: 'data', unless a decorator of {__name__} takes"):
        call.implementation()
