"""Writing files from matrices that are on disk: beside the target, which may be the file that is being read."""

from __future__ import annotations

import os
from contextlib import suppress
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from anndata import AnnData

__all__ = ["write_beside"]


def write_beside(function: Callable[..., Any], path: Path, adata: AnnData, **kwargs: Any) -> Any:
    """Write to a temporary file beside `path` and rename it when it is complete.

    What is read until then is the old file, which stays whole if writing fails.

    Parameters
    ----------
    function
        anndata's `write_h5ad`.
    path
        Where the file goes.
    adata
        What is written, block by block where it is out of memory.
    kwargs
        The other arguments of `function`.

    Raises
    ------
    ValueError
        If a matrix that is out of memory is to be made dense.
    """
    if kwargs.get("as_dense"):
        msg = (
            f"`as_dense={kwargs['as_dense']!r}` is not done for a matrix that stays on disk. Leave it out, or bring "
            "the matrix into memory first (`adata.to_memory()`)."
        )
        raise ValueError(msg)
    target = path.resolve()  # through a link, as writing into it would go
    temporary = target.with_name(f".{target.name}.{os.getpid()}.partial")
    try:
        result = function(temporary, adata, **kwargs)
        with temporary.open("rb") as written:
            os.fsync(written.fileno())
        temporary.replace(target)
    except BaseException:
        with suppress(FileNotFoundError):
            temporary.unlink()
        raise
    return result
