"""Objects of anndataoom.

Modules here import `dispatch`, `matrix` and `storage`.
"""
