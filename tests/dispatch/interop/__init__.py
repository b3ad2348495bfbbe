"""Modules without a test file of their name, and the files that test them.

anndataoom_arrays: dispatch/interop/test_functions.py
anndataoom: dispatch/interop/test_objects.py
"""
