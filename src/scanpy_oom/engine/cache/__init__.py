"""Caches of stored values between passes: by rows, by columns, and the columns that were read last.

Modules here import readers of `engine`, `matrix`, `kernels` and `storage.scratch`.
"""
