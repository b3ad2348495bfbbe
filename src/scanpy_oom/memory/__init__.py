"""Memory of this process: what it may take, who holds how much of it, and how much it takes.

Modules here import settings, errors and messages, and nothing else of ours.
"""

from __future__ import annotations

from .ledger import ACCOUNTANT

__all__ = ["ACCOUNTANT"]
