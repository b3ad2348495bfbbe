"""The benchmark: one workflow through several backends, each in its own process, measured and compared.

Kept empty of imports: the measured processes import this package and should carry as little as they can.
"""
