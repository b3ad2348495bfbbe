"""Matrices that are handed over instead of an AnnData."""

from __future__ import annotations

from ..passes.feedback import warn_user

__all__ = ["warn_not_in_place"]


def warn_not_in_place(function: str) -> None:
    """Tell where the result is, of a function that changes matrices in memory in place."""
    warn_user(f"{function} changes nothing in place where a matrix stays on disk: go on with what it returns")
