"""Modules without a test file of their name, and the files that test them.

reference: kernels/test_statistics.py
products: matrix/methods/test_products.py
closest: neighbors/test_search.py
connectivities: neighbors/test_connectivities.py
"""
