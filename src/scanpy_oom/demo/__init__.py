"""The demo: the benchmark of scanpy in memory and out of memory on one matrix, side by side.

Modules here import the benchmark.
"""
