"""Overrides of ``scanpy.pp``, in files named as scanpy names its own."""
