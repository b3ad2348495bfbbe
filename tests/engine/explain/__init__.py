"""Modules without a test file of their name, and the files that test them.

explanation: engine/explain/test_costs.py
"""
