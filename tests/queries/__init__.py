"""Modules without a test file of their name, and the files that test them.

at_hand: engine/cache/test_column_copy.py
transposed: matrix/methods/test_products.py
"""
