"""Overrides of ``scanpy.metrics``.

It may import what `overrides` may, and other overrides.
"""
