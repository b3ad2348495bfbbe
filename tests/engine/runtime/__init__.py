"""Modules without a test file of their name, and the files that test them.

pass_log: engine/test_pass_table.py
empty_rows: overrides/pp/test_normalization.py
large_arrays: queries/linalg/test_eigen.py
"""
