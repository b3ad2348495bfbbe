"""Modules without a test file of their name, and the files that test them.

block, eigen, program: engine/test_array_implementation.py
choice: engine/device/test_cuda.py
device: engine/device/test_executor.py
"""
