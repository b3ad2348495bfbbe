"""Modules without a test file of their name, and the files that test them.

builtin: dispatch/plugins/test_manager.py
hookspecs: dispatch/plugins/test_plugins.py
"""
