"""Wrappers of functions of anndata and scanpy.

The name of this file has a purpose: :func:`warnings.warn` passes over the frames of files whose path holds both
``importlib`` and ``_bootstrap``, as it must for the frames of an import. So a warning that scanpy raises for its caller
(``stacklevel=2``, or ``skip_file_prefixes``) names the user's line, wrapped or not. For the same reason, scanpy's
functions and overrides are called from here and not from :mod:`~scanpy_oom.dispatch.resolve`.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import update_wrapper
from importlib import import_module
from os import PathLike
from pathlib import Path
from types import FunctionType
from typing import TYPE_CHECKING, Any

from ....errors import MemoryBudgetExceeded, UnsupportedOutOfMemory
from ....settings import settings

_WAY_OUT = (
    "scanpy-oom is installed: `backed='oom'` reads this file and leaves its matrices on disk; "
    "`scanpy_oom.settings.read = 'auto'` (or SCANPY_OOM_READ=auto) does so with all files that are too large."
)

if TYPE_CHECKING:
    from collections.abc import Iterable

    import pandas as pd
    from anndata import AnnData

    from ...arguments import Args, Kwargs

__all__ = [
    "around_concat_arrays",
    "around_function",
    "around_graph",
    "around_read",
    "around_read_elem",
    "around_read_h5ad",
    "around_read_zarr",
    "around_sparse_constructor",
    "around_sparse_join",
    "around_sparse_operator",
    "around_sparsefunc",
    "around_to_df",
    "around_write_h5ad",
    "around_write_zarr",
]

Function = Callable[..., object]

_modules = sys.modules


def around_function(function: Function, name: str, setting: str = "") -> Function:
    """Wrap a scanpy function that may be run out of memory, or is to be measured.

    Parameters
    ----------
    function
        scanpy's own.
    name
        Its name below ``scanpy``, as in ``"pp.log1p"``.
    setting
        ``"graph"`` if `settings.graph` may make it ours, on data in memory too.
    """
    # All that the wrapper needs is in its closure: its globals are those of the function, see below.
    modules, load, is_guest, declines = _modules, import_module, _is_of_anndataoom, UnsupportedOutOfMemory
    chosen = settings

    def wrapper(*args: object, **kwargs: object) -> object:
        __tracebackhide__ = True
        if "anndataoom" in modules and is_guest(args, kwargs):
            guests = load("scanpy_oom.dispatch.interop.anndataoom")
            if guests.is_overridden(name):
                with guests.served(args, kwargs) as fallback:
                    fallback.result = wrapper(*fallback.args, **fallback.kwargs)
                return fallback.result
        # Without this module there is no matrix out of memory.
        if "scanpy_oom.matrix" not in modules and not (setting and chosen.graph == "fast"):
            return function(*args, **kwargs)
        call = load("scanpy_oom.dispatch.resolve").look(function, name, args, kwargs)
        if call is None:
            return function(*args, **kwargs)
        with call.running, call:
            call.remember(args, kwargs)
            try:
                if call.implementation is None:
                    call.prepare()
                    return function(*args, **kwargs)
                try:
                    return call.implementation(*call.args, **call.kwargs)
                except declines as error:
                    call.begin_anew(args, kwargs)
                    reason = call.declined(error)
                with call.in_memory(args, kwargs, reason) as fallback:
                    fallback.result = function(*fallback.args, **fallback.kwargs)
                return fallback.result
            except BaseException as error:
                call.undo()  # before anything else is called: a second Ctrl-C may come at any call
                call.failed(error)
                raise

    wrapper = _in_module_of(function, wrapper)
    return update_wrapper(wrapper, function)


def _in_module_of(function: Function, wrapper: Any) -> Any:
    """Return the wrapper with the globals of the function, which scanpy looks at (`scanpy.external.pl` does)."""
    names = getattr(function, "__globals__", None)
    if names is None:
        return wrapper
    return FunctionType(wrapper.__code__, names, wrapper.__name__, wrapper.__defaults__, wrapper.__closure__)


def around_graph(function: Function) -> Function:
    """Wrap what builds graphs for igraph in scanpy: the same graph, without a Python tuple an edge."""
    defaults = getattr(function, "__kwdefaults__", None) or {}

    def wrapper(*args: Any, **kwargs: Any) -> Any:
        __tracebackhide__ = True
        directed = kwargs.get("directed", defaults.get("directed"))
        if len(args) != 1 or directed is None or kwargs.keys() - {"directed"}:
            return function(*args, **kwargs)
        caller = sys._getframe(1).f_globals.get("__name__", "")
        build = import_module("scanpy_oom.dispatch.patching.graphs").graph_from_adjacency
        return build(function, caller, *args, directed=directed)

    return update_wrapper(wrapper, function)


def around_read_h5ad(function: Function) -> Function:
    """Wrap `anndata.read_h5ad`, so that it knows ``backed="oom"``."""

    def in_memory(*args: object, **kwargs: object) -> object:
        try:
            adata = function(*args, **kwargs)
        except MemoryError as error:
            error.add_note(_WAY_OUT)
            raise
        if "scanpy_oom.matrix" in _modules:  # the report tells why later calls use what is in memory
            import_module("scanpy_oom.dispatch.telemetry.materialized").note_read(function.__name__, adata)
        return adata

    in_memory = update_wrapper(in_memory, function)

    def wrapper(*args: object, **kwargs: object) -> object:
        __tracebackhide__ = True
        backed = _backed(args, kwargs)
        if backed is None:
            backed = _default_backed()
        if backed is None and settings.read == "auto":
            automatic = import_module("scanpy_oom.dispatch.readwrite.automatic")
            return automatic.read_automatically(in_memory, "scanpy_oom.dispatch.readwrite.read:read_h5ad", args, kwargs)
        if backed is None:
            return in_memory(*args, **kwargs)
        readers = import_module("scanpy_oom.dispatch.readwrite.read")
        if backed == "oom":
            return readers.read_as_asked(function, args, kwargs)
        readers.check_backed(backed)
        if not backed and _default_backed():
            return readers.read_in_memory(function, args, kwargs, f"`backed={backed!r}` asks for it")
        return function(*args, **kwargs)

    return update_wrapper(wrapper, function)


def around_read(function: Function) -> Function:
    """Wrap `scanpy.read`, which ignores `backed` for all files but h5ad."""

    def wrapper(*args: object, **kwargs: object) -> object:
        __tracebackhide__ = True
        backed = _backed(args, kwargs)
        if backed == "oom" or (not backed and _default_backed()):
            readers = import_module("scanpy_oom.dispatch.readwrite.read")
            if not readers.reads_h5ad(function, args, kwargs):
                if backed == "oom":
                    return readers.read_as_asked(function, args, kwargs)
                return readers.read_in_memory(function, args, kwargs, "files of this kind are read into memory")
        return function(*args, **kwargs)

    return update_wrapper(wrapper, function)


def around_read_10x_h5(function: Function) -> Function:
    """Wrap `scanpy.read_10x_h5`, so that it knows ``backed="oom"``."""

    def wrapper(*args: object, backed: str | None = None, **kwargs: object) -> object:
        __tracebackhide__ = True
        if backed is None and settings.read == "auto":
            automatic = import_module("scanpy_oom.dispatch.readwrite.automatic")
            reader = "scanpy_oom.dispatch.readwrite.tenx:read_10x_h5"
            return automatic.read_automatically(function, reader, args, kwargs, tenx=True)
        backed = _default_backed() if backed is None else backed
        if backed is None:
            return function(*args, **kwargs)
        if backed != "oom":
            msg = f"`backed={backed!r}` is not known for files of Cell Ranger: it may be 'oom', or None."
            raise ValueError(msg)
        return import_module("scanpy_oom.dispatch.readwrite.tenx").read_10x_h5(*args, **kwargs)

    return update_wrapper(wrapper, function)


def around_read_zarr(function: Function) -> Function:
    """Wrap `anndata.read_zarr`, so that it knows ``backed="oom"``."""

    def wrapper(store: object, backed: str | None = None) -> object:
        __tracebackhide__ = True
        if backed is None and settings.read == "auto":
            automatic = import_module("scanpy_oom.dispatch.readwrite.automatic")
            return automatic.read_automatically(function, "scanpy_oom.dispatch.readwrite.read:read_zarr", (store,), {})
        if backed is None:
            backed = _default_backed()
        if backed is None:
            return function(store)
        readers = import_module("scanpy_oom.dispatch.readwrite.read")
        if backed == "oom" and _default_backed() and not isinstance(store, str | PathLike):
            return readers.read_in_memory(function, (store,), {}, "what is open as a Zarr store may be written to")
        if backed != "oom":
            msg = f"`backed={backed!r}` is not known for Zarr stores: it may be 'oom', or None."
            raise ValueError(msg)
        return readers.read_zarr(store)

    return update_wrapper(wrapper, function)


def around_read_elem(function: Function) -> Function:
    """Wrap `anndata.io.read_elem`, for those who have all that is read left on disk."""

    def wrapper(elem: object) -> object:
        __tracebackhide__ = True
        if _default_backed() and not _is_between(sys._getframe(1).f_globals.get("__name__", "")):
            return import_module("scanpy_oom.dispatch.readwrite.elements").read_elem(function, elem)
        return function(elem)

    return update_wrapper(wrapper, function)


def around_write_zarr(function: Function) -> Function:
    """Wrap `anndata.io.write_zarr`, so that the store that is being read may be written to."""

    def wrapper(store: object, adata: object, **kwargs: object) -> object:
        __tracebackhide__ = True
        if "scanpy_oom.matrix" not in _modules or not _modules["scanpy_oom.matrix"].holds_oom(adata):
            return function(store, adata, **kwargs)
        return import_module("scanpy_oom.dispatch.readwrite.write").write_store(function, store, adata, **kwargs)

    return update_wrapper(wrapper, function)


def around_write_h5ad(function: Function) -> Function:
    """Wrap `anndata.io.write_h5ad`, so that the file that is being read may be written to."""

    def wrapper(filepath: str | PathLike[str], adata: object, **kwargs: object) -> object:
        __tracebackhide__ = True
        reads_from = getattr(_modules.get("scanpy_oom.storage.hdf5.file"), "is_read_from", None)
        holds_oom = "scanpy_oom.matrix" in _modules and _modules["scanpy_oom.matrix"].holds_oom(adata)
        if not holds_oom and (reads_from is None or not reads_from(filepath)):
            return function(filepath, adata, **kwargs)
        writers = import_module("scanpy_oom.dispatch.readwrite.write")
        return writers.write_beside(function, Path(filepath), adata, **kwargs)

    return update_wrapper(wrapper, function)


def around_concat_arrays(function: Function) -> Function:
    """Wrap what `anndata.concat` calls for X, each layer and X of raw: it joins what is out of memory lazily."""

    def wrapper(arrays: Iterable[object], *args: object, **kwargs: object) -> object:
        __tracebackhide__ = True
        arrays = list(arrays)
        if "scanpy_oom.matrix" in _modules:
            oom_matrix = _modules["scanpy_oom.matrix"].OOMMatrix
            if any(isinstance(array, oom_matrix) for array in arrays):
                return import_module("scanpy_oom.dispatch.readwrite.concat").concat_arrays(
                    function, arrays, *args, **kwargs
                )
        return function(arrays, *args, **kwargs)

    return update_wrapper(wrapper, function)


def around_to_df(function: Callable[..., pd.DataFrame]) -> Function:
    """Wrap `AnnData.to_df`: pandas drops the dtype of what has no rows, unless it is an array of NumPy's."""

    def wrapper(self: AnnData, layer: str | None = None) -> object:
        __tracebackhide__ = True
        frame = function(self, layer=layer)
        if "scanpy_oom.matrix" not in _modules or len(frame):
            return frame
        matrix = self.X if layer is None else self.layers[layer]
        return frame.astype(matrix.dtype_in_memory) if _is_out_of_memory(matrix) else frame

    return update_wrapper(wrapper, function)


def around_sparsefunc(function: Function, name: str) -> Function:
    """Wrap a function of scikit-learn or SciPy that takes a sparse matrix first.

    Parameters
    ----------
    function
        Their own.
    name
        Its name in :mod:`scanpy_oom.dispatch.patching.sparsefuncs`.
    """

    def wrapper(*args: object, **kwargs: object) -> object:
        __tracebackhide__ = True
        if "scanpy_oom.matrix" in _modules and _is_out_of_memory(*args[:1], *kwargs.values()):
            return getattr(import_module("scanpy_oom.dispatch.patching.sparsefuncs"), name)(function, *args, **kwargs)
        return function(*args, **kwargs)

    return update_wrapper(wrapper, function)


def around_sparse_join(function: Function) -> Function:
    """Wrap a function of SciPy that joins matrices, in lists or lists of lists."""

    def wrapper(blocks: object, *args: object, **kwargs: object) -> object:
        __tracebackhide__ = True
        if "scanpy_oom.matrix" in _modules and isinstance(blocks, list | tuple):
            flat = [one for block in blocks for one in (block if isinstance(block, list | tuple) else [block])]
            if _is_out_of_memory(*flat):
                return import_module("scanpy_oom.dispatch.patching.sparsefuncs").joined(
                    function, blocks, *args, **kwargs
                )
        return function(blocks, *args, **kwargs)

    return update_wrapper(wrapper, function)


def around_sparse_operator(function: Function) -> Function:
    """Wrap a product of SciPy's matrices, which takes for an array what it does not know: the other operand does it."""

    def wrapper(self: object, other: Any) -> object:
        __tracebackhide__ = True
        if "scanpy_oom.matrix" in _modules and _is_out_of_memory(other) and not other.is_dense:
            return NotImplemented
        return function(self, other)

    return update_wrapper(wrapper, function)


def around_sparse_constructor(function: Function) -> Function:
    """Wrap what makes SciPy's matrices: it says of each error that it does not know its input."""

    def wrapper(self: object, *args: object, **kwargs: object) -> None:
        __tracebackhide__ = True
        try:
            function(self, *args, **kwargs)
        except ValueError as error:
            if isinstance(error.__cause__, MemoryBudgetExceeded):
                raise error.__cause__ from None
            raise

    return update_wrapper(wrapper, function)


def _is_out_of_memory(*values: object) -> bool:
    """Return whether one of these is a matrix out of memory; the module of such is loaded."""
    kind = _modules["scanpy_oom.matrix"].OOMMatrix
    return any(isinstance(value, kind) for value in values)


def _is_of_anndataoom(args: Args, kwargs: Kwargs) -> bool:
    """Return whether an argument is an object of the package anndataoom, which is loaded."""
    kind = getattr(_modules["anndataoom"], "AnnDataOOM", ())
    return any(isinstance(value, kind) for value in (*args, *kwargs.values()))


def _default_backed() -> str | None:
    """Return what ``backed=None`` means: ``"oom"``, or None for in memory."""
    return "oom" if settings.read == "always" else None


def _is_between(module: str) -> bool:
    """Return whether a module is of anndata, which reads elements one by one, or ours."""
    return module.partition(".")[0] in {"anndata", "scanpy_oom"}


def _backed(args: Args, kwargs: Kwargs) -> object:
    return args[1] if len(args) > 1 else kwargs.get("backed")
