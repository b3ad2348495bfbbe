"""Dispatch: scanpy itself runs a call, or an override on data that stay on disk.

Modules here import everything but the report, the benchmark and the demo.
"""
