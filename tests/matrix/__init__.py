"""Modules without a test file of their name, and the files that test them.

card: matrix/test_accessor.py
state: matrix/test_oommatrix.py
selection: matrix/test_properties.py
protocol: queries/test_answers.py
"""
