"""Matrices where they are stored, as sources of blocks of rows.

Modules here import settings, memory, errors and messages.
"""
