"""Modules without a test file of their name, and the files that test them.

concat: dispatch/readwrite/test_concat.py
scratch: overrides/pp/test_downsample_counts.py
"""
