"""Overrides of ``scanpy.tl``, in files named as scanpy names its own."""
