"""Modules without a test file of their name, and the files that test them.

_group_tests: overrides/tl/test_rank_genes_groups.py
"""
