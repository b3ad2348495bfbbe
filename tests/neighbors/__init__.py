"""Modules without a test file of their name, and the files that test them.

graph: overrides/pp/test_neighbors.py
rows: neighbors/test_transformer.py
"""
