"""Modules without a test file of their name, and the files that test them.

curve: embedding/test_umap.py
layout: embedding/test_umap.py kernels/test_layout.py
"""
