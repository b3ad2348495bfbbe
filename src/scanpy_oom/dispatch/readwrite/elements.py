"""``anndata.io.read_elem``, where all that is read is to be left on disk."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ...matrix import OOMMatrix
from ...messages import warn_user
from ...storage.hdf5.read_elem import holds_matrix, read_element, why_in_memory
from ..patching.patch import patch_all
from ..plugins.manager import overrides
from ..telemetry.call import Measurement
from ..telemetry.materialized import reading

if TYPE_CHECKING:
    from ..arguments import Function

__all__ = ["read_elem"]


def read_elem(function: Function, element: Any) -> object:
    """Read an element: matrices stay on disk, if nobody may write to the file; else the report says why not.

    Parameters
    ----------
    function
        anndata's own.
    element
        A group or an array of an HDF5 file or of a Zarr store.
    """
    if not holds_matrix(element):
        return function(element)
    patch_all(overrides().values())
    why = why_in_memory(element)
    if why:
        with reading("read_elem", f"{element.name}, as {why}") as made:
            return made(function(element))
    call = Measurement("read_elem", "out of memory", f"{element.name}: matrices stay on disk")
    with call.running, call:
        return read_element(element, OOMMatrix.from_source, warn_user)
