"""Modules without a test file of their name, and the files that test them.

compare, main, report: demo/test_demo.py
"""
