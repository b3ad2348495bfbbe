"""Modules without a test file of their name, and the files that test them.

turns: matrix/inplace/test_changes.py
"""
