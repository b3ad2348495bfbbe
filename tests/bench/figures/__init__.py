"""Modules without a test file of their name, and the files that test them.

scaling, steps, style, timeline: bench/test_parts.py
"""
