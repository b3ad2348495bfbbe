"""Eigenpairs of a matrix that is read in passes.

Modules here import the executor and products of `reductions`.
"""
