"""Modules without a test file of their name, and the files that test them.

open: storage/hdf5/test_open.py storage/zarr/test_store.py
shapes: storage/hdf5/test_read.py
stored: storage/sources/test_csr.py storage/sources/test_csc.py
"""
