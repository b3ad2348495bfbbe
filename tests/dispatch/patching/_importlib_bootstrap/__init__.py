"""Modules without a test file of their name, and the files that test them.

wrappers: dispatch/patching/test_wrappers.py
"""
