"""Modules without a test file of their name, and the files that test them.

anndataoom, autozyme, crest_disk, dask, memory, memory_seed, oom, oom_fast: bench/test_bench.py
"""
