"""Modules without a test file of their name, and the files that test them.

draws: clustering/test_processes.py
leiden: clustering/test_processes.py
"""
