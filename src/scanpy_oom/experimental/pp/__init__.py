"""Overrides of ``scanpy.experimental.pp``, in files named as scanpy names its own."""
