"""Codecs: filters of HDF5 and Zarr, a file each, and the pipeline that runs them.

Modules here import `storage.abc`, the compiler and errors.
"""
