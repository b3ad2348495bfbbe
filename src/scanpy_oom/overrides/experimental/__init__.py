"""Overrides of ``scanpy.experimental``.

It may import what `overrides` may, and other overrides.
"""
