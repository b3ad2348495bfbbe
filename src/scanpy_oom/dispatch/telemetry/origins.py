"""Origins of data in memory, for the report, which says why a call used them."""

from __future__ import annotations

import weakref

__all__ = ["note", "origin"]

_known: dict[int, tuple[weakref.ref[object], str]] = {}
"""What is known of an object, by its identity, for as long as it is there: such objects do not compare."""


def note(value: object, how: str) -> None:
    """Remember how an object came to be in memory; nothing of objects that have no weak references."""
    key = id(value)
    try:
        _known[key] = weakref.ref(value, lambda _: _known.pop(key, None)), how
    except TypeError:
        return


def origin(value: object) -> str | None:
    """Return what is remembered of an object."""
    reference, how = _known.get(id(value), (None, None))
    return how if reference is not None and reference() is value else None
