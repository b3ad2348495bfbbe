"""The matrices of an AnnData by the names of :func:`scanpy_oom.matrix.underlying`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from anndata import AnnData

if TYPE_CHECKING:
    from ..matrix import OOMMatrix

__all__ = ["Used", "attribute", "get", "put"]


class Used(NamedTuple):
    """A matrix out of memory that a call would use."""

    holder: AnnData | OOMMatrix
    slot: str
    matrix: OOMMatrix


def attribute(slot: str) -> str:
    """Name a matrix as users do; that without a slot is one that was given by itself."""
    if slot.startswith("layers/"):
        return f"layers[{slot.removeprefix('layers/')!r}]"
    return slot.replace("/", ".") or "the matrix"


def get(adata: AnnData, slot: str) -> Any:
    """Return a matrix as this object, perhaps a view, shows it; `None` if there is none."""
    if slot == "X":
        return adata.X
    if slot == "raw/X":
        return None if adata.raw is None else adata.raw.X
    return adata.layers.get(slot.removeprefix("layers/"))


def put(adata: AnnData, slot: str, matrix: object) -> None:
    """Put a matrix of the same shape in the place of one that is there."""
    if slot == "X":
        adata.X = matrix
    elif slot == "raw/X":
        # Names come after, since anndata warns of names that are not unique when it makes an object.
        raw = AnnData(matrix)
        raw.var, raw.varm = adata.raw.var, dict(adata.raw.varm)
        adata.raw = raw
    else:
        adata.layers[slot.removeprefix("layers/")] = matrix
