"""Reading files out of memory, through the storage formats that are registered."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import TYPE_CHECKING, Any

from scanpy.readwrite import avail_exts

from ..errors import MissingMatrixError
from ..matrix import OOMMatrix, underlying
from .manager import formats, overrides
from .measure import Measurement
from .patching import patch_all

if TYPE_CHECKING:
    import os
    from collections.abc import Callable

    from anndata import AnnData

__all__ = ["check_backed", "read_as_asked", "read_h5ad", "reads_h5ad"]

_H5AD = {"h5", "h5ad"}


def read_h5ad(path: str | os.PathLike[str]) -> AnnData:
    """Read a file, leaving its matrices on disk.

    Parameters
    ----------
    path
        An h5ad file, or a file in a format that a plugin reads.

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
    MissingMatrixError
        If it holds no matrix at all.
    """
    # Functions that plugins override, those that are only measured, and whatever was imported in ways that the import
    # hook did not see.
    patch_all(overrides().values())
    with Measurement("read_h5ad", "out of memory", "its matrices stay on disk"):
        return _read(path)


def _read(path: str | os.PathLike[str]) -> AnnData:
    adata = formats().scanpy_oom_read(path=Path(path), wrap=OOMMatrix.from_source)
    if next((matrix for _, matrix in underlying(adata) if matrix is not None), None) is None:
        msg = (
            f"{path} holds no X, nor a layer or raw: there is no matrix to leave on disk. Read it without "
            "`backed='oom'`, or write it again with its counts."
        )
        raise MissingMatrixError(msg)
    return adata


def read_as_asked(function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> AnnData:
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
    path = Path(arguments.arguments.pop("filename"))
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


def reads_h5ad(read: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
    """Tell whether `scanpy.read`, called with these arguments, hands `backed` on to `read_h5ad`."""
    arguments = inspect.signature(read).bind_partial(*args, **kwargs).arguments
    if arguments.get("sheet") is not None:
        return False
    path = Path(arguments.get("filename", ""))
    extension = arguments.get("ext") or path.suffix.removeprefix(".")
    # Where there is no file, scanpy may take the name for a key of one, or say that it is missing.
    is_other_file = extension in avail_exts or extension in {"gz", "bz2"} or path.exists()
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
            f"`backed={backed!r}` is not known. It may be 'oom' (matrices stay on disk and scanpy runs out of memory), "
            "'r', 'r+' or True (anndata's own modes), or None or False (all is read into memory)."
        )
        raise ValueError(msg)
