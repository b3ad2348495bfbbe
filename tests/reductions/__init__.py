"""Modules without a test file of their name, and the files that test them.

write: dispatch/readwrite/test_write.py
axis_statistics, column_sums, gram: engine/test_reduction.py engine/test_array_implementation.py
extrema, means, products, ranks, rowwise, welford: engine/test_reduction.py engine/test_array_implementation.py
by_row, rowmap: engine/test_reduction.py
collect: matrix/methods/test_in_memory.py
pearson: engine/test_array_implementation.py overrides/experimental/pp/test_highly_variable_genes.py
medians: overrides/get/test_aggregated.py
downsample: overrides/pp/test_downsample_counts.py
clipped: overrides/pp/test_highly_variable_genes_seurat_v3.py
"""
