"""Matrices in anndata's layout, found in a container and opened as sources."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from ..arrays.blocks import is_supported_dtype
from ..nodes import is_array
from .csr import CSRSource
from .shapes import stored_shape

if TYPE_CHECKING:
    from ..abc import Container
    from ..nodes import GroupNode, Node
    from .base import Source

__all__ = ["is_streamable", "make_source", "open_matrix"]


def open_matrix(container: Container, name: str) -> Source:
    """Open one matrix of a container, which from here on belongs to the source.

    Raises
    ------
    KeyError
        If it holds no such matrix.
    TypeError
        If what it holds by that name cannot be streamed.
    CorruptFileError
        If it is damaged.
    """
    with container.element(name) as element:
        if not is_streamable(element):
            msg = f"{container.path}: {name} is no matrix of numbers in CSR, CSC or dense format."
            raise TypeError(msg)
        return make_source(container.holder(element), element)


def is_streamable(element: Node) -> bool:
    """Return whether :func:`make_source` reads this element: numbers, as CSR, CSC or a dense matrix."""
    if is_array(element):
        encoding = element.attrs.get("encoding-type", "array")
        return encoding == "array" and element.ndim == 2 and is_supported_dtype(element.dtype)
    if _sparse_format(element) is None:
        return False
    data = cast("GroupNode", element).get("data")
    return not is_array(data) or is_supported_dtype(data.dtype)


def make_source(container: Container, element: Node) -> Source:
    """Make the source for an element for which :func:`is_streamable` holds.

    Parameters
    ----------
    container
        What holds it, which from here on belongs to the source.
    element
        The element; only its description is kept.
    """
    if is_array(element):
        from .dense import DenseSource

        return DenseSource(container, element)
    group = cast("GroupNode", element)
    shape = stored_shape(container.path, group)
    if _sparse_format(group) == "csr":
        return CSRSource(container, group, shape)
    from .csc import CSCSource

    return CSCSource(container, group, shape)


def _sparse_format(group: Node) -> str | None:
    """Read how a group stores a sparse matrix; anndata before 0.7 said it in an attribute of its own."""
    encoding = group.attrs.get("encoding-type")
    if encoding is None:
        encoding = f"{group.attrs.get('h5sparse_format')}_matrix"
    return {"csr_matrix": "csr", "csc_matrix": "csc"}.get(str(encoding))
