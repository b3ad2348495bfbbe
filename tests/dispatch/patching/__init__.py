"""Modules without a test file of their name, and the files that test them.

activation: test_activation.py
"""
