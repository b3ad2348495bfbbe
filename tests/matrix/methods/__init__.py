"""Modules without a test file of their name, and the files that test them.

operands: matrix/methods/test_arithmetic.py
materialize: matrix/methods/test_in_memory.py
base, indexing: matrix/test_oommatrix.py
reductions: matrix/test_known_statistics.py
"""
