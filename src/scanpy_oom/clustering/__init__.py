"""Clusters of graphs: igraph's Leiden on one edge a pair of cells, and several resolutions on all cores.

What lives here takes sparse matrices and gives clusters as numbers, and knows no AnnData. It may import kernels, the
ledger of memory and settings, and nothing of overrides and dispatcher.
"""
