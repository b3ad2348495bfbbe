"""The demo: one scanpy workflow, in memory and out of memory, measured and compared.

Kept empty of imports: the measured processes import this package and should carry as little as they can.
"""
