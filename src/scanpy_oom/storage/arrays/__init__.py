"""Arrays in chunks, read by runs of elements, checked where they are decoded.

Modules here import `storage.abc` and what memory, settings and errors offer; they know no file format.
"""
