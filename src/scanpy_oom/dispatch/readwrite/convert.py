"""Conversion of objects in memory, or open in another way, to objects out of memory."""

from __future__ import annotations

from copy import deepcopy
from typing import TYPE_CHECKING, TypeAlias

from anndata import AnnData

from ...matrix import OOMMatrix
from ...matrix.interop.anndata import file_mode, positions_of_view, root_of
from ...storage.hdf5.open import open_source
from ..interop.anndataoom import from_anndataoom, is_anndataoom
from ..patching.patch import patch_all
from ..plugins.manager import overrides

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from scipy import sparse

    Matrix: TypeAlias = sparse.spmatrix | sparse.sparray | NDArray[np.number] | OOMMatrix

__all__ = ["to_oom"]


def to_oom(data: AnnData | Matrix) -> AnnData | OOMMatrix:
    """Have scanpy work out of memory on something that is in memory already, or open with ``backed="r"``.

    What results takes no copy of matrices in memory, which must not be changed from here on: scanpy's functions leave
    them alone, and put lazy ones in the place of :class:`~scanpy_oom.OOMMatrix`.

    Parameters
    ----------
    data
        A SciPy or NumPy matrix; or an AnnData, in memory, a view, or opened with ``backed="r"``, whose X, layers and X
        of raw become out-of-memory matrices. The rest is copied.

    Returns
    -------
    An :class:`~scanpy_oom.OOMMatrix`, or an AnnData of its own.

    Raises
    ------
    TypeError
        If it is neither, or a matrix holds no numbers.
    ValueError
        If it is an AnnData that may write to its file (``backed="r+"``).
    """
    patch_all(overrides().values())
    if is_anndataoom(data):
        return from_anndataoom(data)
    if not isinstance(data, AnnData):
        return _matrix(data)
    if data.is_view:
        rows, columns = positions_of_view(data)
        return to_oom(root_of(data))[rows, columns].copy()
    if data.isbacked:
        return _backed(data)
    raw = None if data.raw is None else _with_raw(data, _matrix(data.raw.X))
    return _assembled(data, None if data.X is None else _matrix(data.X), raw)


def _matrix(data: object) -> OOMMatrix:
    return data if isinstance(data, OOMMatrix) else OOMMatrix.from_memory(data)


def _backed(data: AnnData) -> AnnData:
    """Read the file of an AnnData that was opened with ``backed="r"``; all else is that of the object."""
    if file_mode(data) != "r":
        msg = (
            f"{data.filename} was opened with backed={file_mode(data)!r}, and could change while it is read. "
            "Close it. Then open it with `backed='r'`, or directly with `backed='oom'`."
        )
        raise ValueError(msg)

    def opened(name: str) -> OOMMatrix:
        return OOMMatrix.from_source(open_source(data.filename, name))

    raw = None if data.raw is None else _with_raw(data, opened("/raw/X"))
    return _assembled(data, opened("/X"), raw)


def _with_raw(data: AnnData, x: OOMMatrix) -> dict[str, object]:
    return {"X": x, "var": data.raw.var.copy(), "varm": dict(data.raw.varm)}


def _assembled(data: AnnData, x: OOMMatrix | None, raw: dict[str, object] | None) -> AnnData:
    """Make an AnnData of the annotations of `data`."""
    mappings = {name: dict(getattr(data, name)) for name in ("obsm", "varm", "obsp", "varp")}
    listed = None in data.layers  # X, by anndata 0.13, at a place that may be any
    new = AnnData(None if listed else x, obs=data.obs.copy(), var=data.var.copy(), raw=raw, **mappings)
    for name, layer in data.layers.items():
        if name is None:
            new.X = x
        else:
            new.layers[name] = _matrix(layer)
    new.uns = deepcopy(dict(data.uns))
    return new
