"""HDF5 files: opened, read past the HDF5 library, checked and written.

Modules here import `storage.codecs`, `storage.sources` and the contracts of `storage.abc`.
"""
