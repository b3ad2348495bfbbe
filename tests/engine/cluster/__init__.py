"""Modules without a test file of their name, and the files that test them.

cluster_pass: engine/cluster/test_executor.py engine/cluster/test_failures.py
row_totals: engine/cluster/test_executor.py engine/cluster/test_worker.py
"""
