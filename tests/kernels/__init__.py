"""Modules without a test file of their name, and the files that test them.

steps: engine/test_compiled_steps.py
reference: kernels/test_statistics.py
products: matrix/methods/test_products.py
nearest: queries/test_nearest.py
closest: neighbors/test_search.py
connectivities: neighbors/test_connectivities.py
"""
