"""The cost of a call, before it runs.

Modules here import the executor, whose decisions they use, and read no values.
"""
