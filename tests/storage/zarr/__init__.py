"""Modules without a test file of their name, and the files that test them.

chunks, open, read: storage/zarr/test_store.py
writer: dispatch/readwrite/test_write.py
"""
