"""Modules without a test file of their name, and the files that test them.

slots: dispatch/test_resolve.py
"""
