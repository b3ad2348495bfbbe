"""Registrations with anndata and fast-array-utils.

Only this folder uses private names of anndata's views and registries.
"""
