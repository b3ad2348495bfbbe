"""Layouts of graphs: UMAP's, from connectivities in CSR arrays, on all threads and the same for any number of them.

It takes arrays and sparse matrices, and may import kernels, the ledger of memory, and what the engine has for threads.
"""
