"""Overrides of ``scanpy.get``, in files named as scanpy names its own."""
