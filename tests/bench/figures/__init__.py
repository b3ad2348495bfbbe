"""Modules without a test file of their name, and the files that test them.

scaling, step_bars, theme, timeline: bench/test_parts.py
"""
