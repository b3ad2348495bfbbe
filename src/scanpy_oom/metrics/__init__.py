"""Overrides of ``scanpy.metrics``."""
