"""Scratch files, and sorting by way of them.

Modules here import `storage.arrays` and settings, memory, errors and messages.
"""
