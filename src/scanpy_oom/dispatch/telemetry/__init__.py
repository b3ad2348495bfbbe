"""The log of calls: what each took, who ran it and why.

Modules here import the plugins, the log of passes and the meter of memory.
"""
