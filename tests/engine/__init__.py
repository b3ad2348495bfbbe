"""Modules without a test file of their name, and the files that test them.

partition, request, thread_pass: engine/test_executor.py
block, column_selector: engine/test_reduction.py
column_buckets: overrides/tl/test_rank_genes_groups.py engine/cache/test_column_copy.py
"""
