"""What stands in the place of a function of anndata or scanpy.

The name of this file has a purpose: :func:`warnings.warn` passes over the frames of files whose path holds both
``importlib`` and ``_bootstrap``, as it must for the frames of an import. So a warning that scanpy raises for its caller
(``stacklevel=2``, or ``skip_file_prefixes``) names the user's line, wrapped or not. For the same reason, scanpy's
functions and overrides are called from here and not from :mod:`~scanpy_oom.dispatch.gate`.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import update_wrapper
from importlib import import_module
from os import PathLike
from pathlib import Path
from typing import Any

from ..errors import UnsupportedOutOfMemory

__all__ = [
    "around_concat_arrays",
    "around_function",
    "around_read",
    "around_read_h5ad",
    "around_read_zarr",
    "around_sparse_join",
    "around_sparse_operator",
    "around_sparsefunc",
    "around_write_h5ad",
    "around_write_zarr",
    "set_default_backed",
]

Function = Callable[..., Any]

_modules = sys.modules
_default_backed: str | None = None


def set_default_backed(value: str | None) -> None:
    """Set what ``backed=None`` means for `read_h5ad`: ``"oom"``, or `None` for in memory."""
    global _default_backed  # noqa: PLW0603
    _default_backed = value


def around_function(function: Function, name: str) -> Function:
    """Wrap a scanpy function that may be run out of memory, or is to be measured.

    Parameters
    ----------
    function
        scanpy's own.
    name
        Its name below ``scanpy``, as in ``"pp.log1p"``.
    """

    def wrapper(*args: Any, **kwargs: Any) -> Any:
        __tracebackhide__ = True
        if "anndataoom" in _modules and _is_of_anndataoom(args, kwargs):
            guests = import_module("scanpy_oom.dispatch.anndataoom")
            if guests.is_overridden(name):
                with guests.served(args, kwargs) as loan:
                    loan.result = wrapper(*loan.args, **loan.kwargs)
                return loan.result
        # Without this module there is no matrix out of memory.
        if "scanpy_oom.matrix" not in _modules:
            return function(*args, **kwargs)
        call = import_module("scanpy_oom.dispatch.gate").look(function, name, args, kwargs)
        if call is None:
            return function(*args, **kwargs)
        with call:
            if call.implementation is None:
                call.prepare()
                return function(*args, **kwargs)
            try:
                return call.implementation(*call.args, **call.kwargs)
            except UnsupportedOutOfMemory as error:
                reason = error.reason
            with call.in_memory(args, kwargs, reason) as loan:
                loan.result = function(*loan.args, **loan.kwargs)
            return loan.result

    return update_wrapper(wrapper, function)


def around_read_h5ad(function: Function) -> Function:
    """Wrap `anndata.read_h5ad`, so that it knows ``backed="oom"``."""

    def wrapper(*args: Any, **kwargs: Any) -> Any:
        __tracebackhide__ = True
        backed = _backed(args, kwargs)
        if backed is None:
            backed = _default_backed
        if backed is None:
            return function(*args, **kwargs)
        readers = import_module("scanpy_oom.dispatch.readers")
        if backed == "oom":
            return readers.read_as_asked(function, args, kwargs)
        readers.check_backed(backed)
        return function(*args, **kwargs)

    return update_wrapper(wrapper, function)


def around_read(function: Function) -> Function:
    """Wrap `scanpy.read`, which ignores `backed` for all files but h5ad."""

    def wrapper(*args: Any, **kwargs: Any) -> Any:
        __tracebackhide__ = True
        if _backed(args, kwargs) == "oom":
            readers = import_module("scanpy_oom.dispatch.readers")
            if not readers.reads_h5ad(function, args, kwargs):
                return readers.read_as_asked(function, args, kwargs)
        return function(*args, **kwargs)

    return update_wrapper(wrapper, function)


def around_read_10x_h5(function: Function) -> Function:
    """Wrap `scanpy.read_10x_h5`, so that it knows ``backed="oom"``."""

    def wrapper(*args: Any, backed: str | None = None, **kwargs: Any) -> Any:
        __tracebackhide__ = True
        backed = _default_backed if backed is None else backed
        if backed is None:
            return function(*args, **kwargs)
        if backed != "oom":
            msg = f"`backed={backed!r}` is not known for files of Cell Ranger: it may be 'oom', or None."
            raise ValueError(msg)
        return import_module("scanpy_oom.dispatch.tenx").read_10x_h5(*args, **kwargs)

    return update_wrapper(wrapper, function)


def around_read_zarr(function: Function) -> Function:
    """Wrap `anndata.read_zarr`, so that it knows ``backed="oom"``."""

    def wrapper(store: Any, backed: str | None = None) -> Any:
        __tracebackhide__ = True
        is_path = isinstance(store, str | PathLike)
        if backed is None and is_path:
            backed = _default_backed
        if backed is None:
            return function(store)
        if backed != "oom":
            msg = f"`backed={backed!r}` is not known for Zarr stores: it may be 'oom', or None."
            raise ValueError(msg)
        return import_module("scanpy_oom.dispatch.readers").read_zarr(store)

    return update_wrapper(wrapper, function)


def around_write_zarr(function: Function) -> Function:
    """Wrap `anndata.io.write_zarr`, so that the store that is being read may be written to."""

    def wrapper(store: Any, adata: Any, **kwargs: Any) -> Any:
        __tracebackhide__ = True
        is_path = isinstance(store, str | PathLike)
        if not is_path or "scanpy_oom.matrix" not in _modules or not _modules["scanpy_oom.matrix"].holds_oom(adata):
            return function(store, adata, **kwargs)
        with import_module("scanpy_oom.dispatch.writers").replacement(Path(store)) as temporary:
            return function(temporary, adata, **kwargs)

    return update_wrapper(wrapper, function)


def around_write_h5ad(function: Function) -> Function:
    """Wrap `anndata.io.write_h5ad`, so that the file that is being read may be written to."""

    def wrapper(filepath: Any, adata: Any, **kwargs: Any) -> Any:
        __tracebackhide__ = True
        if "scanpy_oom.matrix" not in _modules or not _modules["scanpy_oom.matrix"].holds_oom(adata):
            return function(filepath, adata, **kwargs)
        writers = import_module("scanpy_oom.dispatch.writers")
        return writers.write_beside(function, Path(filepath), adata, **kwargs)

    return update_wrapper(wrapper, function)


def around_concat_arrays(function: Function) -> Function:
    """Wrap what `anndata.concat` calls for X, each layer and X of raw: it joins what is out of memory lazily."""

    def wrapper(arrays: Any, *args: Any, **kwargs: Any) -> Any:
        __tracebackhide__ = True
        arrays = list(arrays)
        if "scanpy_oom.matrix" in _modules:
            oom_matrix = _modules["scanpy_oom.matrix"].OOMMatrix
            if any(isinstance(array, oom_matrix) for array in arrays):
                return import_module("scanpy_oom.dispatch.concat").concat_arrays(function, arrays, *args, **kwargs)
        return function(arrays, *args, **kwargs)

    return update_wrapper(wrapper, function)


def around_sparsefunc(function: Function, name: str) -> Function:
    """Wrap a function of scikit-learn or SciPy that takes a sparse matrix first.

    Parameters
    ----------
    function
        Their own.
    name
        Its name in :mod:`scanpy_oom.dispatch.sparsefuncs`.
    """

    def wrapper(*args: Any, **kwargs: Any) -> Any:
        __tracebackhide__ = True
        if "scanpy_oom.matrix" in _modules and _is_out_of_memory(*args[:1], *kwargs.values()):
            return getattr(import_module("scanpy_oom.dispatch.sparsefuncs"), name)(function, *args, **kwargs)
        return function(*args, **kwargs)

    return update_wrapper(wrapper, function)


def around_sparse_join(function: Function) -> Function:
    """Wrap a function of SciPy that joins matrices, in lists or lists of lists."""

    def wrapper(blocks: Any, *args: Any, **kwargs: Any) -> Any:
        __tracebackhide__ = True
        if "scanpy_oom.matrix" in _modules and isinstance(blocks, list | tuple):
            flat = [one for block in blocks for one in (block if isinstance(block, list | tuple) else [block])]
            if _is_out_of_memory(*flat):
                return import_module("scanpy_oom.dispatch.sparsefuncs").joined(function, blocks, *args, **kwargs)
        return function(blocks, *args, **kwargs)

    return update_wrapper(wrapper, function)


def around_sparse_operator(function: Function) -> Function:
    """Wrap a product of SciPy's matrices, which takes for an array what it does not know: the other operand does it."""

    def wrapper(self: Any, other: Any) -> Any:
        __tracebackhide__ = True
        if "scanpy_oom.matrix" in _modules and _is_out_of_memory(other) and not other.is_dense:
            return NotImplemented
        return function(self, other)

    return update_wrapper(wrapper, function)


def _is_out_of_memory(*values: Any) -> bool:
    """Tell whether one of these is a matrix out of memory; the module of such is loaded."""
    kind = _modules["scanpy_oom.matrix"].OOMMatrix
    return any(isinstance(value, kind) for value in values)


def _is_of_anndataoom(args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
    """Tell whether an argument is an object of the package anndataoom, which is loaded."""
    kind = getattr(_modules["anndataoom"], "AnnDataOOM", ())
    return any(isinstance(value, kind) for value in (*args, *kwargs.values()))


def _backed(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    return args[1] if len(args) > 1 else kwargs.get("backed")
