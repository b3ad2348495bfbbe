"""Overrides of ``scanpy.tl``, in files named as scanpy names its own.

It may import what `overrides` may, and other overrides.
"""
