"""Modules without a test file of their name, and the files that test them.

anndataoom, autozyme, crest, crest_disk, dask, memory, oom, oom_fast: bench/test_bench.py
"""
