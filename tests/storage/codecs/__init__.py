"""Modules without a test file of their name, and the files that test them.

gzip: storage/codecs/test_pipeline.py
libdeflate: storage/codecs/test_gzip_alone.py
"""
