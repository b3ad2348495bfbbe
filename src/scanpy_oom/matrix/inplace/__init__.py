"""Changes of a matrix in place.

Modules here import `matrix.methods` and `matrix.transforms`.
"""
