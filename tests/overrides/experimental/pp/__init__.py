"""Modules without a test file of their name, and the files that test them.

_recipes: overrides/pp/test_recipes.py
"""
