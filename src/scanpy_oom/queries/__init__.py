"""Questions about a whole matrix, answered by passes.

Modules here import `engine`, `reductions` and `matrix`.
"""
