"""Modules without a test file of their name, and the files that test them.

joined: dispatch/readwrite/test_concat.py
scratch: overrides/pp/test_downsample_counts.py
"""
