"""Clusters of graphs by Leiden's algorithm, in the memory that the graph takes, and of several resolutions at once.

What lives here takes sparse matrices and gives clusters as numbers, and knows no AnnData. It may import kernels, the
engine's threads, the ledger of memory and settings, and nothing of overrides and dispatcher.
"""
