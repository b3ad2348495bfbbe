"""The process around a pass: compiled code, BLAS, progress, and the log of passes.

Modules here import kernels, memory and messages.
"""
