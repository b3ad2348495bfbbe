"""Modules without a test file of their name, and the files that test them.

__main__: test_main.py
notebook: test_activation.py
errors: test_settings.py storage/test_refusal.py
tl: overrides/tl/test_leiden.py
"""
