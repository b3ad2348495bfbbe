"""Elements of a container, as h5py and zarr describe them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol, TypeGuard

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy as np

__all__ = ["ArrayNode", "GroupNode", "Node", "is_array"]


class Node(Protocol):
    """An element of a container, as the library of its format describes it."""

    @property
    def name(self) -> str:
        """Place in the container, from its root on."""

    @property
    def attrs(self) -> Mapping[str, Any]:
        """Attributes."""


class ArrayNode(Node, Protocol):
    """An array of a container, as the library of its format describes it."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Length of each axis."""

    @property
    def ndim(self) -> int:
        """Number of axes."""

    @property
    def dtype(self) -> np.dtype:
        """Type of the values, as they are stored."""


class GroupNode(Node, Protocol):
    """A group of a container, as the library of its format describes it."""

    def __contains__(self, key: str, /) -> bool: ...

    def __getitem__(self, key: str, /) -> Any: ...

    def get(self, key: str, /) -> Any:
        """Look up an element; None if there is none."""


def is_array(node: object) -> TypeGuard[ArrayNode]:
    """Return whether an element of a container is an array, not a group."""
    return hasattr(node, "ndim")
