"""The shapes of matrices, as a file states them, and as its annotations have it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ...errors import CorruptFileError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from ..nodes import GroupNode

__all__ = ["check_shapes", "stored_shape"]

_MAX = 2**31  # indices are int32


def stored_shape(path: Path, group: GroupNode) -> tuple[int, int]:
    """Read the shape of the sparse matrix that a group of the file at `path` holds.

    Raises
    ------
    CorruptFileError
        If it is not two numbers that a matrix may have.
    """
    attribute = group.attrs.get("shape", group.attrs.get("h5sparse_shape", ()))
    try:
        stored = np.asarray(attribute, dtype=np.float64)  # as which JSON may have them
    except (TypeError, ValueError):
        stored = np.empty(0)
    if stored.shape != (2,) or not ((stored >= 0) & (stored < _MAX) & (stored == np.floor(stored))).all():
        msg = (
            f"{path}: {group.name} has the shape {np.asarray(attribute, dtype=object).tolist()}; "
            f"numbers of rows and of columns below {_MAX} are expected. "
            "The file is damaged; fetch or write it again."
        )
        raise CorruptFileError(msg)
    return int(stored[0]), int(stored[1])


def check_shapes(path: Path, shapes: Mapping[str, tuple[int, int]], n_obs: int, n_vars: int) -> None:
    """Hold the shapes of matrices, by name, against the annotations.

    Raises
    ------
    CorruptFileError
        If one disagrees.
    """
    for name, shape in shapes.items():
        if shape != (n_obs, n_vars):
            msg = (
                f"{path}: {name} has the shape {shape}, "
                f"and there are annotations of {n_obs} observations and {n_vars} variables. "
                "The file is damaged; fetch or write it again."
            )
            raise CorruptFileError(msg)
