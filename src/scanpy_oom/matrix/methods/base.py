"""Attributes of :class:`~scanpy_oom.matrix.OOMMatrix` that its mixins use."""

from __future__ import annotations

from typing import TYPE_CHECKING, Self, TypeAlias, cast

import numpy as np

if TYPE_CHECKING:
    from scipy import sparse

    from ...storage.abc import Values
    from ..oommatrix import OOMMatrix
    from ..state import State
    from ..transforms.chain import Chain

    Held: TypeAlias = sparse.csr_matrix | Values
    """Values in memory, as SciPy or NumPy holds them."""

    Result: TypeAlias = OOMMatrix | Held
    """A lazy matrix; values in memory where an operation has no lazy form."""

__all__ = ["Mixin", "no_attribute"]


class Mixin:
    """A part of the methods of an :class:`~scanpy_oom.matrix.OOMMatrix`, in a file of its own."""

    _state: State

    @property
    def chain(self) -> Chain:
        """Transforms of the values."""
        return self._state.chain

    @property
    def transposed_of(self) -> OOMMatrix | None:
        """The transposed matrix, where this was made as the transposed one."""
        return self._state.transposed_of

    @property
    def shape(self) -> tuple[int, int]:
        """Numbers of rows and columns."""
        return self._state.selection.shape

    @property
    def dtype(self) -> np.dtype:
        """Dtype of the values, in native byte order."""
        return self.chain.dtype

    @property
    def is_dense(self) -> bool:
        """True if scanpy, in memory, would hold this as a dense array."""
        return self.chain.dense

    @property
    def nbytes_in_memory(self) -> int:
        """Bytes that this would take in memory at most."""
        raise NotImplementedError

    def to_memory(self) -> Held:
        """Bring all values into memory, as anndata would hold them there."""
        raise NotImplementedError

    def copy(self, order: str = "C") -> Self:
        """Return another matrix of the same values, which changes by itself."""
        raise NotImplementedError

    @property
    def _matrix(self) -> OOMMatrix:
        return cast("OOMMatrix", self)


def no_attribute(matrix: OOMMatrix, name: str) -> AttributeError:
    """Return the error for an attribute that this kind of matrix has not; it says how an array in memory has it."""
    msg = f"{type(matrix).__name__!r} object has no attribute {name!r}"
    if matrix.is_dense and hasattr(np.ndarray, name):
        msg += f". NumPy arrays have it: `X = adata.X.to_memory()`, then `X.{name}`, and `adata.X = X` if X changed"
    return AttributeError(msg, name=name, obj=matrix)
