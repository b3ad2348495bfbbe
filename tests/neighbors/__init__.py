"""Modules without a test file of their name, and the files that test them.

graph: overrides/pp/test_neighbors.py
points: neighbors/test_transformer.py
"""
