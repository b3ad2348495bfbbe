"""Passes: rows are partitioned, read, transformed and reduced, on threads or a device.

Modules here import `matrix`, `kernels` and `storage`, and no reduction: these are handed in.
"""
