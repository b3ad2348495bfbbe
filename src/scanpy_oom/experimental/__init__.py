"""Overrides of ``scanpy.experimental``."""
