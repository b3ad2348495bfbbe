"""All forms, registered by being imported."""

from __future__ import annotations

from . import extrema, groups, pearson, products, ranks, rowwise, statistics
from .form import FORMS

__all__ = ["FORMS", "extrema", "groups", "pearson", "products", "ranks", "rowwise", "statistics"]
