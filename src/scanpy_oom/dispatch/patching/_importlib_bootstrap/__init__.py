"""Wrappers, in a folder whose name keeps their frames out of warnings.

It imports settings and errors; what is heavy is imported by the first call.
"""
