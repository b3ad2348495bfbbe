"""Modules without a test file of their name, and the files that test them.

appender: storage/hdf5/test_dataset_writer.py dispatch/readwrite/test_write.py
byte_counter, nodes: storage/test_abc.py
damage: storage/test_damage.py
"""
