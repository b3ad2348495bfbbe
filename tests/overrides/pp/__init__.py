"""Modules without a test file of their name, and the files that test them.

_batches: overrides/pp/test_highly_variable_genes_seurat_v3.py
_compat: overrides/pp/test_in_place.py
_pca_arguments, _pca_solvers, _small: overrides/pp/test_pca.py
_scrublet_core: overrides/pp/test_scrublet.py
"""
