"""Sources made of others: joined, patched, or computed once.

Modules here import `engine`, `matrix` and `storage.sources`.
"""
