"""Modules without a test file of their name, and the files that test them.

axes, plot, style, text: report/test_page.py
"""
