"""Puts wrappers in the place of scanpy's and anndata's functions, and takes them away again."""

from __future__ import annotations

import sys
from functools import cache
from importlib import import_module
from importlib.metadata import version
from inspect import isfunction
from threading import RLock
from types import ModuleType
from typing import TYPE_CHECKING, Any

import _scanpy_oom_activate

from ... import _scanpy
from ...messages import warn_user
from ..prefetch import PREFETCHED
from ..registry import BUILTIN
from ._importlib_bootstrap.wrappers import (
    around_concat_arrays,
    around_function,
    around_graph,
    around_read,
    around_read_10x_h5,
    around_read_elem,
    around_read_h5ad,
    around_read_zarr,
    around_sparse_constructor,
    around_sparse_join,
    around_sparse_operator,
    around_sparsefunc,
    around_to_df,
    around_write_h5ad,
    around_write_zarr,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from ..arguments import Function
    from ..registry import Override

__all__ = ["patch", "patch_all", "scanpys", "unpatch"]

_FILES = {
    "anndata.io.read_elem": around_read_elem,
    "anndata.io.read_h5ad": around_read_h5ad,
    "anndata.io.read_zarr": around_read_zarr,
    "anndata.io.write_h5ad": around_write_h5ad,
    "anndata.io.write_zarr": around_write_zarr,
    "scanpy.io.read": around_read,
    "scanpy.io.read_10x_h5": around_read_10x_h5,
    "scanpy.readwrite.read": around_read,  # before 1.13
    "scanpy.readwrite.read_10x_h5": around_read_10x_h5,
    # names, indices and merging of annotations stay anndata's; this is where it joins two matrices
    "anndata._core.merge.concat_arrays": around_concat_arrays,
    "anndata._core.anndata.AnnData.to_df": around_to_df,
}

_SPARSEFUNCS = (
    "sklearn.utils.sparsefuncs.count_nonzero",
    "sklearn.utils.sparsefuncs.mean_variance_axis",
    "sklearn.utils.sparsefuncs.min_max_axis",
    "sklearn.utils.validation.check_array",
)
"""Functions of scikit-learn that do more with matrices out of memory than the same with less memory.

They work without this, too, for those who imported them by name before a file was opened.
"""

_IN_PLACE = (
    *(f"sklearn.utils.sparsefuncs.inplace_{what}" for what in ("column_scale", "row_scale", "swap_column", "swap_row")),
    *(f"sklearn.utils.sparsefuncs.inplace_csr_{axis}_scale" for axis in ("column", "row")),
    *(f"sklearn.utils.sparsefuncs_fast.inplace_csr_row_normalize_l{p}" for p in (1, 2)),
    *(f"sklearn.preprocessing._data.{way}_scale" for way in ("maxabs", "minmax", "robust")),
    *(f"sklearn.preprocessing._data.{name}" for name in ("binarize", "normalize", "scale")),
    *(f"sklearn.preprocessing._data.{kind}_transform" for kind in ("power", "quantile")),
)
"""Functions of scikit-learn that work in place, or do so if they are told to."""

_JOINS = ("block_array", "block_diag", "bmat", "hstack", "vstack")
"""Functions of SciPy that join matrices. Left alone they do so, too, with no limit for all of them together."""

_OPERATORS = ("scipy.sparse.csr_matrix.__matmul__", "scipy.sparse.csr_matrix.__mul__")
"""Products of SciPy's matrices: what all of them inherit."""

_MEASURED = ("pp", "tl", "get", "pl", "experimental.pp", "metrics")
"""Where the public functions of scanpy are that are measured, whether they can be run out of memory or not."""

_PLACES = {"pl": "scanpy.plotting.legacy"}
"""Modules that hold what others hand on when they are asked for it (since scanpy 1.13)."""

_lock = RLock()
_measures = False
_overrides: tuple[Override, ...] = BUILTIN
_wrappers: dict[Function, Function] = {}
"""Each function that was replaced, and its wrapper."""


def patch(overrides: Iterable[Override] | None = None) -> None:
    """Wrap what is loaded of anndata and scanpy; what is wrapped already stays so.

    Parameters
    ----------
    overrides
        The scanpy functions to wrap, beside those that read and write files; None for those that are known.
    """
    with _lock:
        for path, around in _FILES.items():
            _wrap(_loaded(path), around)
        for path in _SPARSEFUNCS:
            _wrap(_loaded(path), around_sparsefunc, path.rpartition(".")[2])
        for path in _IN_PLACE:
            _wrap(_loaded(path), around_sparsefunc, "in_place")
        for name in _JOINS:
            _wrap(_loaded(f"scipy.sparse.{name}"), around_sparse_join)
        _wrap(_loaded("scipy.sparse.csr_matrix.__init__"), around_sparse_constructor)
        for path in _OPERATORS:
            _wrap(_loaded(path), around_sparse_operator)
        _wrap(_private("graph_from_adjacency"), around_graph)
        for override in _overrides if overrides is None else overrides:
            setting = "" if override.fast is None else "graph"
            _wrap(scanpys(override.function), around_function, override.function, setting)
        for name in PREFETCHED:
            _wrap(scanpys(name), around_function, name)
        if _measures:
            for name, function in _public():
                _wrap(function, around_function, name)
        _rebind(_wrappers)
        register = getattr(sys.modules.get("scanpy_oom.matrix.interop.fast_array_utils"), "register", None)
        if register is not None:  # what is not loaded in full yet does so itself
            register()


def patch_all(overrides: Iterable[Override]) -> None:
    """Do what :func:`patch` does, from now on with every public function of scanpy that works on data.

    What is imported later is patched then: reading a file imports nothing of scanpy, nor of scikit-learn.

    Parameters
    ----------
    overrides
        The scanpy functions to wrap, beside those that read and write files.
    """
    global _measures, _overrides
    helpers = import_module("scanpy_oom.matrix.interop.fast_array_utils").HELPERS
    with _lock:
        _measures, _overrides = True, tuple(overrides)
        _scanpy_oom_activate.watch({path.rpartition(".")[0] for path in (*_SPARSEFUNCS, *_IN_PLACE)} | helpers)
        patch()


def unpatch() -> None:
    """Put back every function that :func:`patch` and :func:`patch_all` replaced."""
    with _lock:
        _rebind({wrapper: function for function, wrapper in _wrappers.items()})
        _wrappers.clear()


def _wrap(function: Function | None, around: Callable[..., Function], *args: str) -> None:
    if function is not None and function not in _wrappers and function not in _wrappers.values():
        _wrappers[function] = around(function, *args)


def _private(name: str) -> Function | None:
    """Return a private function of scanpy that is wrapped; `None` where it is not loaded (yet).

    Parameters
    ----------
    name
        Its name in :mod:`scanpy_oom._scanpy`.
    """
    places = [f"scanpy.{place.replace(':', '.')}" for place in _scanpy.PLACES[name]]
    found = next(filter(None, map(_loaded, places)), None)
    if found is None and "scanpy.tools._leiden" in sys.modules:  # which imports what it needs of scanpy first
        _warn_of_missing(*places)
    return found


@cache
def _warn_of_missing(*places: str) -> None:
    warn_user(
        f"scanpy {version('scanpy')} has no `{'` nor `'.join(places)}`: `sc.tl.leiden` and `sc.tl.louvain` run as they "
        "are, and take as much memory as without scanpy-oom."
    )


def _public() -> Iterator[tuple[str, Function]]:
    for namespace in _MEASURED:
        module: object = _loaded(_PLACES.get(namespace, f"scanpy.{namespace}")) or _loaded(f"scanpy.{namespace}")
        for name in getattr(module, "__all__", ()):
            function = vars(module).get(name)
            if isfunction(function) and not name.startswith(("_", "set_")):  # those set the style of plots
                yield f"{namespace}.{name}", function


def scanpys(name: str) -> Function | None:
    """Return a function by its name below ``scanpy``; `None` where this version has none or it is not loaded (yet)."""
    namespace, _, function = name.rpartition(".")
    place = _PLACES.get(namespace)
    return (_loaded(f"{place}.{function}") if place else None) or _loaded(f"scanpy.{name}")


def _loaded(path: str) -> Function | None:
    """Return the function, `None` where this version has none or its module is not loaded (yet).

    Nothing is asked of a module that it does not hold: some import what they are asked for, or warn. A module that is
    being imported is no attribute of its package yet.
    """
    module, names = path, []
    while module and module not in sys.modules:
        module, _, name = module.rpartition(".")
        names.append(name)
    found: Any = sys.modules.get(module)
    for name in reversed(names):
        found = vars(found).get(name) if isinstance(found, ModuleType) else getattr(found, name, None)
    return found


def _rebind(replacements: Mapping[Function, Function]) -> None:
    """Replace functions, known by identity, wherever there is a name for them."""
    by_id = {id(function): replacement for function, replacement in replacements.items()}
    for owner in _owners():
        for key, value in [(key, value) for key, value in vars(owner).items() if id(value) in by_id]:
            setattr(owner, key, by_id[id(value)])


def _owners() -> Iterator[object]:
    """Yield the script that runs, the modules of these packages, AnnData, and what SciPy's matrices inherit from."""
    yield from () if (script := sys.modules.get("__main__")) is None else (script,)
    for name, module in list(sys.modules.items()):
        if name.partition(".")[0] in {"anndata", "scanpy", "scipy", "sklearn"} and isinstance(module, ModuleType):
            yield module
    matrix: Any = _loaded("scipy.sparse.csr_matrix")
    yield from () if matrix is None else matrix.__mro__[:-1]
    anndata = _loaded("anndata._core.anndata.AnnData")
    yield from () if anndata is None else (anndata,)
