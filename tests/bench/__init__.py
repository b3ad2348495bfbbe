"""Modules without a test file of their name, and the files that test them.

main: bench/test_bench.py
atlas: bench/test_data.py
display: demo/test_demo.py
agreement, environment, options, recipe, results, run, table, totals, watch: bench/test_parts.py
"""
