"""Zarr stores: opened as sources, and written.

Modules here import `storage.sources` and the contracts of `storage.abc`.
"""
