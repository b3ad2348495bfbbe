"""Sources: one matrix each, and how blocks of its rows are fetched.

Modules here import `storage.arrays`, `storage.scratch` and `storage.abc`; they know no format of files.
"""
