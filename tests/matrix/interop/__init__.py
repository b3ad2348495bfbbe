"""Modules without a test file of their name, and the files that test them.

anndata: matrix/test_oommatrix.py
fast_array_utils: matrix/test_known_statistics.py
"""
