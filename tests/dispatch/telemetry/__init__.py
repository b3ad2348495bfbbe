"""Modules without a test file of their name, and the files that test them.

log, materialized, origins: report/test_summary.py
"""
