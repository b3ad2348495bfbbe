"""Modules without a test file of their name, and the files that test them.

container: storage/hdf5/test_file.py storage/test_abc.py
tenx: dispatch/readwrite/test_tenx.py
writer: dispatch/readwrite/test_write.py
read_elem: dispatch/readwrite/test_elements.py
"""
