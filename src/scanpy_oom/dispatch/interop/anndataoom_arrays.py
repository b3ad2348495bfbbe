"""From the arrays of anndataoom to matrices that are read from the file itself."""

from __future__ import annotations

import os
from copy import copy
from pathlib import Path
from threading import RLock
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

import h5py
import numpy as np
from anndata.abc import CSCDataset, CSRDataset
from anndataoom import BackedArray, ScaledBackedArray, TransformedBackedArray
from anndataoom._core import _SubsetBackedArray
from scipy import sparse

from ...errors import CorruptFileError, UnsupportedOutOfMemory
from ...matrix import OOMMatrix
from ...matrix.selection import normalize_axis_index
from ...matrix.transforms import ByRow, Cast, Elementwise
from ...matrix.transforms.scale import Scale
from ...storage.hdf5.identify import find_matrix, matrices_of_shape
from ...storage.hdf5.open import open_source
from ...storage.sources.row_reader import RowsSource

if TYPE_CHECKING:
    from ...matrix.selection import Axis
    from ...storage.sources.base import Source

__all__ = ["matrix_of"]

_SINGLE, _DOUBLE = np.dtype(np.float32), np.dtype(np.float64)

_CLOSED = (
    "The file of an AnnDataOOM was closed, as anndataoom also does when the object that read it is no longer there, "
    "whatever was selected from it. Read it again with `anndataoom.read`, and keep that object."
)

_lock = RLock()
_matrices: WeakKeyDictionary[BackedArray, OOMMatrix] = WeakKeyDictionary()
"""What was made of each array: calls one after the other share its statistics and copies."""


def matrix_of(array: object, path: Path | None) -> OOMMatrix:
    """Return the matrix that an array shows; the same for the same array.

    Parameters
    ----------
    array
        A `BackedArray` of anndataoom, or a matrix in memory.
    path
        The file of the object that holds it.

    Raises
    ------
    TypeError
        If it shows no matrix of numbers.
    ValueError
        If it was closed, or its parts do not fit each other.
    """
    if isinstance(array, OOMMatrix):
        return array
    if not isinstance(array, BackedArray):
        return OOMMatrix.from_memory(array)
    with _lock:
        known = _matrices.get(array)
        if known is None or not _is_open(known.source):
            known = _matrices[array] = _converted(array, path)
    return known


def _is_open(source: Source) -> bool:
    try:
        source.check_open()
    except CorruptFileError:
        raise
    except ValueError:
        return False
    return True


def _converted(array: BackedArray, path: Path | None) -> OOMMatrix:
    kind = type(array)
    if kind in {_SubsetBackedArray, TransformedBackedArray, ScaledBackedArray}:
        parent = matrix_of(array._parent, path)
        if kind is _SubsetBackedArray:
            return parent.select(_axis(array._obs_idx, parent.shape[0]), _axis(array._var_idx, parent.shape[1]))
        try:
            return _transformed(array, parent)
        except UnsupportedOutOfMemory:  # the step leaves nothing sparse; its rows are dense
            return _by_rows(array)
    matrix = _stored(array, path) if kind is BackedArray else _by_rows(array)
    if matrix.shape != tuple(array.shape):
        msg = f"A {kind.__name__} has the shape {array.shape}, and its matrix in the file has {matrix.shape}."
        raise ValueError(msg)
    return matrix


def _axis(positions: object, n: int) -> Axis:
    return None if positions is None else normalize_axis_index(positions, n)


def _by_rows(array: BackedArray) -> OOMMatrix:
    # a copy, so that what is remembered for the array does not keep it
    return OOMMatrix.from_source(RowsSource(copy(array), f"{type(array).__name__} of anndataoom"))


def _transformed(array: TransformedBackedArray, matrix: OOMMatrix) -> OOMMatrix:
    """Return `matrix` with the steps of an array, in the dtypes in which anndataoom computes blocks of rows."""
    if (given := array._norm_factors) is not None:
        factors = np.asarray(given, dtype=_DOUBLE)
        if factors.shape != matrix.shape[:1]:
            msg = f"{factors.size} factors do not fit a matrix of {matrix.shape[0]} rows."
            raise ValueError(msg)
        factors = np.where(factors == 0, 1, factors).astype(_SINGLE)
        matrix = _as(matrix, _SINGLE)
        # a dense block is divided, a sparse one multiplied
        by_factors = ("divide", factors) if matrix.is_dense else ("multiply", 1 / factors)
        matrix = matrix.transform(ByRow(*by_factors, _SINGLE))
    if array._apply_log1p:
        matrix = matrix.transform(Elementwise("log1p"))
    if isinstance(array, ScaledBackedArray):
        mean, std, bound = array._scale_mean, array._scale_std, array._max_value
        scale = Scale(mean, std, bound, mask=None, dtype=_DOUBLE, dense=True)
        matrix = _as(_as(matrix, _DOUBLE).transform(scale), _SINGLE)
    return matrix


def _as(matrix: OOMMatrix, dtype: np.dtype) -> OOMMatrix:
    return matrix if matrix.dtype == dtype else matrix.transform(Cast(dtype))


def _stored(array: BackedArray, path: Path | None) -> OOMMatrix:
    """Return what a plain array holds: a matrix, or something that reads one."""
    held = array._elem
    element = getattr(held, "_ds", held)  # a layer in a file of its own
    if isinstance(element, OOMMatrix):
        return element
    if isinstance(element, np.ndarray) or sparse.issparse(element):
        return OOMMatrix.from_memory(element)
    if array._is_rs:
        source = _of_file(array, held, path)
    elif isinstance(element, CSRDataset | CSCDataset | h5py.Dataset):
        source = _of_library(element if isinstance(element, h5py.Dataset) else element.group)
    else:
        source = None
    return _by_rows(array) if source is None else OOMMatrix.from_source(source)


def _of_library(element: object) -> Source | None:
    """Open a matrix that is open with h5py; None if it may be written to, or its file is gone."""
    if not isinstance(element, h5py.Group | h5py.Dataset):
        return None
    if not element:
        raise ValueError(_CLOSED)
    h5 = element.file
    path = Path(h5.filename)
    is_there = path.exists() and os.path.samestat(os.fstat(h5.id.get_vfd_handle()), path.stat())
    return open_source(path, element.name) if h5.mode == "r" and is_there else None


def _of_file(array: BackedArray, element: object, path: Path | None) -> Source | None:
    """Find the matrix that the Rust library reads; None if the file is no longer there."""
    form = _describe(element).partition("Matrix")[0]
    if form == "Csc":  # of which that library cannot read a row without reading all
        found = [] if path is None else matrices_of_shape(path, tuple(array.shape), "csc")
        if len(found) == 1:
            return found[0]
        msg = (
            f"{path} holds {len(found)} CSC matrices of the same shape, and an AnnDataOOM does not say which one it "
            "shows. Open the file with `scanpy_oom.read_h5ad` instead."
        )
        raise ValueError(msg)
    return None if path is None else find_matrix(path, RowsSource(array, "AnnDataOOM"))


def _describe(element: Any) -> str:
    """Return what an element of the Rust library is, as in ``"CsrMatrix(f32) element, ..."``."""
    try:
        return str(element) if len(element.shape) == 2 else ""
    except BaseException as error:
        if type(error).__name__ != "PanicException":
            raise
        raise ValueError(_CLOSED) from error
