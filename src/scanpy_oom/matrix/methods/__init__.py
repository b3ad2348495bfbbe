"""Methods of :class:`~scanpy_oom.matrix.OOMMatrix`, as mixins.

Modules here import `matrix.transforms` and the protocol of questions.
"""
