"""Wrappers in the place of functions of scanpy, anndata, SciPy and scikit-learn.

Modules here import the registry and the rules of `dispatch`; what is heavy is imported by the first call.
"""
