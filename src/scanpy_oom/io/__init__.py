"""Matrices on disk and in memory, as sources of blocks of rows; and whole h5ad files."""

from __future__ import annotations

from .source import CSRBlock, Source, kernel_dtype

__all__ = ["CSRBlock", "Source", "kernel_dtype"]
