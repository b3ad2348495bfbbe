"""Modules without a test file of their name, and the files that test them.

blocks: storage/sources/test_base.py
compressed: storage/sources/test_csr.py storage/sources/test_csc.py storage/test_damage.py
validation: storage/arrays/test_array_reader.py storage/test_refusal.py
"""
