"""Modules without a test file of their name, and the files that test them.

anndataoom, dask, memory, oom: bench/test_bench.py
"""
