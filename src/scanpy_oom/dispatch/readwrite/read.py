"""Reading files out of memory, through the storage formats that are registered."""

from __future__ import annotations

import inspect
import os
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeAlias

import anndata

from ...matrix import OOMMatrix, underlying
from ...messages import warn_user
from ..patching.patch import patch_all
from ..plugins.manager import formats, overrides
from ..telemetry.call import Measurement
from ..telemetry.materialized import reading

if TYPE_CHECKING:
    from anndata import AnnData

    from ..arguments import Args, Function, Kwargs

__all__ = ["check_backed", "read_as_asked", "read_h5ad", "read_in_memory", "read_zarr", "reads_h5ad"]

_Path: TypeAlias = "str | bytes | os.PathLike[str]"

_H5AD = {"h5", "h5ad"}

_TEXTS = ("csv", "data", "tab", "tsv", "txt")
_OTHERS = {"anndata", "bz2", "gz", "loom", "mtx", "mtx.gz", "soft.gz", "xlsx", "zarr", *_TEXTS}
"""Endings of other files that `scanpy.read` knows."""


def read_h5ad(  # noqa: PLR0913 - as anndata.concat
    path: _Path | Collection[_Path] | Mapping[str, _Path],
    *,
    join: Literal["inner", "outer"] = "inner",
    merge: object = None,
    uns_merge: object = None,
    label: str | None = None,
    keys: Collection[object] | None = None,
    index_unique: str | None = None,
    fill_value: object = None,
    pairwise: bool = False,
) -> AnnData:
    """Read a file, or several as one, leaving their matrices on disk.

    Parameters
    ----------
    path
        An h5ad file, or a file in a format that a plugin reads. Several of them become one AnnData: their observations
        one below the other, as :func:`anndata.concat` does it, with rows read from where they lie. A mapping names each
        of them, as `keys` would.
    join, merge, uns_merge, label, keys, index_unique, fill_value, pairwise
        How several files are joined: the arguments of :func:`anndata.concat`.

    Returns
    -------
    An AnnData with an :class:`~scanpy_oom.OOMMatrix` as X, as each layer and as X of raw; all else is in memory.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    NotAnH5adError
        If nothing that is registered reads it.
    CorruptFileError
        If it is damaged.
    ValueError
        If `path` names no file at all, or just one, not as a list, and an argument says how to join it.
    """
    options: dict[str, object] = {"join": join, "merge": merge, "uns_merge": uns_merge, "label": label, "keys": keys}
    options |= {"index_unique": index_unique, "fill_value": fill_value, "pairwise": pairwise}
    # what has its default is left to anndata, which may warn of it
    options = {name: value for name, value in options.items() if not _is_default(name, value)}
    several = _several(path, options)
    # Functions that plugins override, those that are only measured, and whatever was imported in ways that the import
    # hook did not see.
    patch_all(overrides().values())
    call = Measurement("read_h5ad", "out of memory", "its matrices stay on disk")
    with call.running, call:
        if isinstance(path, str | bytes | os.PathLike):
            return _read(path)
        if isinstance(several, Mapping):
            return anndata.concat({name: _read(one) for name, one in several.items()}, **options)
        return anndata.concat([_read(one) for one in several], **options)


def _is_default(name: str, value: object) -> bool:
    default = inspect.signature(read_h5ad).parameters[name].default
    return value is default or (isinstance(value, str) and value == default)


def _several(
    path: _Path | Collection[_Path] | Mapping[str, _Path], options: dict[str, object]
) -> Mapping[str, _Path] | Collection[_Path]:
    """Return the files that are to be joined; none, if there is but one."""
    if not isinstance(path, str | bytes | os.PathLike):
        several: Mapping[str, _Path] | list[_Path] = path if isinstance(path, Mapping) else list(path)
        if several:
            return several
        msg = f"There is no file to read: {path!r} is empty."
        raise ValueError(msg)
    for name, value in options.items():
        msg = (
            f"`{name}={value!r}` is for several files, and {os.fsdecode(path)} is a single one. "
            "Leave it out, or give a list of files."
        )
        raise ValueError(msg)
    return []


def read_zarr(store: object) -> AnnData:
    """Read a Zarr store, a folder or a zip file, leaving its matrices there. See :func:`anndata.read_zarr`.

    Raises
    ------
    TypeError
        If `store` is no path.
    """
    if not isinstance(store, str | os.PathLike):
        msg = f"`backed='oom'` needs the path of a Zarr store, not {store!r}: the store is opened again for each pass."
        raise TypeError(msg)
    patch_all(overrides().values())
    call = Measurement("read_zarr", "out of memory", "its matrices stay on disk")
    with call.running, call:
        return _read(store, "zarr")


def _read(path: _Path, format: Literal["h5ad", "zarr"] = "h5ad") -> AnnData:
    """Read a file with what is registered; warn if it holds no matrix.

    That is no error where all files of a script are left on disk.
    """
    path = Path(os.fsdecode(path))
    adata: AnnData = formats().scanpy_oom_read(path=path, wrap=OOMMatrix.from_source, format=format)
    if all(matrix is None for _, matrix in underlying(adata)):
        warn_user(f"{path} holds no X, nor a layer or raw: there is no matrix to leave on disk")
    return adata


def read_as_asked(function: Function, args: Args, kwargs: Kwargs) -> AnnData:
    """Do what a call of `function` with ``backed="oom"`` asks for.

    Parameters
    ----------
    function
        `anndata.read_h5ad`, or `scanpy.read` with a file that is no h5ad.
    args, kwargs
        Its arguments.

    Raises
    ------
    ValueError
        If one of the arguments cannot be honoured, or it is `scanpy.read` and no plugin reads such a file.
    """
    arguments = inspect.signature(function).bind(*args, **kwargs)
    path = Path(os.fsdecode(arguments.arguments.pop("filename")))  # which anndata takes as bytes, too
    arguments.arguments.pop("backed", None)
    defaults = {name: parameter.default for name, parameter in arguments.signature.parameters.items()}
    for name, value in arguments.arguments.items():
        if value != defaults[name]:
            msg = (
                f"`{name}={value!r}` cannot be combined with `backed='oom'`, which leaves matrices on disk "
                f"as they are. Leave it out, or read {path} into memory."
            )
            raise ValueError(msg)
    return read_h5ad(path)


def read_in_memory(function: Function, args: Args, kwargs: Kwargs, reason: str) -> AnnData:
    """Read a file into memory where all that is read is to be left on disk, which the report says.

    Parameters
    ----------
    function
        What reads it.
    args, kwargs
        Its arguments.
    reason
        Why, as a clause.
    """
    patch_all(overrides().values())
    with reading(function.__name__, reason) as made:
        adata: AnnData = made(function(*args, **kwargs))
    return adata


def reads_h5ad(read: Function, args: Args, kwargs: Kwargs) -> bool:
    """Return whether `scanpy.read`, called with these arguments, hands `backed` on to `read_h5ad`."""
    arguments = inspect.signature(read).bind_partial(*args, **kwargs).arguments
    if arguments.get("sheet") is not None:
        return False
    path = Path(arguments.get("filename", ""))
    extension = arguments.get("ext") or path.suffix.removeprefix(".")
    # Where there is no file, scanpy may take the name for a key of one, or say that it is missing.
    is_other_file = extension in _OTHERS or path.exists()
    return extension in _H5AD or not is_other_file


def check_backed(backed: object) -> None:
    """Make sure that anndata knows this value of `backed`.

    Raises
    ------
    ValueError
        If it does not.
    """
    known = backed in ("r", "r+") if isinstance(backed, str) else isinstance(backed, bool) or not backed
    if not known:
        msg = (
            f"`backed={backed!r}` is not known. Use 'oom' (matrices stay on disk), 'r', 'r+' or True (anndata's own "
            "modes), or None or False (all is read into memory)."
        )
        raise ValueError(msg)
