"""A plugin that cannot be imported."""

from __future__ import annotations

msg = "this was meant to be"
raise ImportError(msg)
