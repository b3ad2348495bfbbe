"""Puts wrappers in the place of scanpy's and anndata's functions, and takes them away again."""

from __future__ import annotations

import sys
from inspect import isfunction
from threading import RLock
from types import ModuleType
from typing import TYPE_CHECKING, Any

from .genes import GATHERED
from .table import BUILTIN
from .wrappers_importlib_bootstrap import (
    around_concat_arrays,
    around_function,
    around_read,
    around_read_10x_h5,
    around_read_h5ad,
    around_read_zarr,
    around_sparse_join,
    around_sparse_operator,
    around_sparsefunc,
    around_write_h5ad,
    around_write_zarr,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from .table import Override

__all__ = ["patch", "patch_all", "unpatch"]

_FILES = {
    "anndata.io.read_h5ad": around_read_h5ad,
    "anndata.io.read_zarr": around_read_zarr,
    "anndata.io.write_h5ad": around_write_h5ad,
    "anndata.io.write_zarr": around_write_zarr,
    "scanpy.readwrite.read": around_read,
    "scanpy.readwrite.read_10x_h5": around_read_10x_h5,
    # names, indices and merging of annotations stay anndata's; this is where it joins two matrices
    "anndata._core.merge.concat_arrays": around_concat_arrays,
}

_SPARSEFUNCS = (
    "sklearn.utils.sparsefuncs.count_nonzero",
    "sklearn.utils.sparsefuncs.mean_variance_axis",
    "sklearn.utils.sparsefuncs.min_max_axis",
    "sklearn.utils.validation.check_array",
    "scipy.sparse.linalg.norm",
)
"""Functions of scikit-learn and SciPy that ask for SciPy's matrices, and are told of those that are out of memory."""

_JOINS = ("block_array", "block_diag", "bmat", "hstack", "vstack")
"""Functions of SciPy that join matrices."""

_OPERATORS = ("scipy.sparse.csr_matrix.__matmul__", "scipy.sparse.csr_matrix.__mul__")
"""Products of SciPy's matrices: what all of them inherit."""

_MEASURED = ("pp", "tl", "get", "pl", "experimental.pp", "metrics")
"""Where the public functions of scanpy are that are measured, whether they can be run out of memory or not."""

_lock = RLock()
_measures = False
_wrappers: dict[Callable[..., Any], Callable[..., Any]] = {}
"""Each function that was replaced, and its wrapper."""


def patch(overrides: Iterable[Override] = BUILTIN) -> None:
    """Wrap what is loaded of anndata and scanpy; what is wrapped already stays so.

    Parameters
    ----------
    overrides
        The scanpy functions to wrap, beside those that read and write files.
    """
    with _lock:
        for path, around in _FILES.items():
            _wrap(_loaded(path), around)
        for path in _SPARSEFUNCS:
            _wrap(_loaded(path), around_sparsefunc, path.rpartition(".")[2])
        for name in _JOINS:
            _wrap(_loaded(f"scipy.sparse.{name}"), around_sparse_join)
        for path in _OPERATORS:
            _wrap(_loaded(path), around_sparse_operator)
        for override in overrides:
            _wrap(_loaded(f"scanpy.{override.function}"), around_function, override.function)
        for name in GATHERED:
            _wrap(_loaded(f"scanpy.{name}"), around_function, name)
        if _measures:
            for name, function in _public():
                _wrap(function, around_function, name)
        _rebind(_wrappers)


def patch_all(overrides: Iterable[Override]) -> None:
    """Do what :func:`patch` does, from now on with every public function of scanpy that works on data."""
    global _measures  # noqa: PLW0603
    with _lock:
        _measures = True
        patch(overrides)


def unpatch() -> None:
    """Put back every function that :func:`patch` and :func:`patch_all` replaced."""
    with _lock:
        _rebind({wrapper: function for function, wrapper in _wrappers.items()})
        _wrappers.clear()


def _wrap(function: Callable[..., Any] | None, around: Callable[..., Callable[..., Any]], *args: str) -> None:
    if function is not None and function not in _wrappers and function not in _wrappers.values():
        _wrappers[function] = around(function, *args)


def _public() -> Iterator[tuple[str, Callable[..., Any]]]:
    for namespace in _MEASURED:
        module: Any = _loaded(f"scanpy.{namespace}")
        for name in getattr(module, "__all__", ()):
            function = getattr(module, name, None)
            if isfunction(function) and not name.startswith(("_", "set_")):  # those set the style of plots
                yield f"{namespace}.{name}", function


def _loaded(path: str) -> Callable[..., Any] | None:
    """Return the function, `None` where this version has none or its module is not loaded (yet)."""
    root, *names = path.split(".")
    found: Any = sys.modules.get(root)
    for name in names:
        found = getattr(found, name, None)
    return found


def _rebind(replacements: Mapping[Callable[..., Any], Callable[..., Any]]) -> None:
    """Replace functions, known by identity, wherever there is a name for them."""
    by_id = {id(function): replacement for function, replacement in replacements.items()}
    for owner in _owners():
        for key, value in [(key, value) for key, value in vars(owner).items() if id(value) in by_id]:
            setattr(owner, key, by_id[id(value)])


def _owners() -> Iterator[Any]:
    """Yield the modules of these packages, and what SciPy's matrices inherit from."""
    for name, module in list(sys.modules.items()):
        if name.partition(".")[0] in {"anndata", "scanpy", "scipy", "sklearn"} and isinstance(module, ModuleType):
            yield module
    matrix: Any = _loaded("scipy.sparse.csr_matrix")
    yield from () if matrix is None else matrix.__mro__[:-1]
