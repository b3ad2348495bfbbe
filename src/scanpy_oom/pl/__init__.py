"""Overrides of ``scanpy.pl``, in files named as scanpy names its own."""
