"""Writes `compatibility.md`: what becomes of each function of scanpy, by argument, out of memory.

Run as a script it writes the page beside itself; a test holds the page, and these rows, to the table of overrides
and to the installed scanpy. A function that scanpy gains wants a row, an argument a name in one.
"""

from __future__ import annotations

import runpy
from dataclasses import dataclass
from pathlib import Path

from packaging.version import Version

from scanpy_oom.dispatch import uses as rules
from scanpy_oom.dispatch.registry import BUILTIN

__all__ = ["HELD_TO", "KNOWN", "NAMESPACES", "PAGE", "ROWS", "Row", "page"]

PAGE = Path(__file__).with_suffix(".md")

KNOWN = Path(__file__).parents[1] / "tests" / "fuzz" / "known.py"
"""What the tests with random calls take for meant."""

NAMESPACES = ("pp", "experimental.pp", "tl", "get")
"""Those of which every function has a row."""


HELD_TO = ("1.11.5", "1.12.4", "1.13.0a2")
"""Versions of scanpy whose functions and arguments are those of the rows, the newest at the time."""


def _is_in(name: str, version: str) -> bool:
    """Tell whether a version has what is named with versions in brackets."""
    versions = name.partition("[")[2].rstrip("]")
    here, number = Version(version), Version(versions.strip("<+") or "0")
    return here < number if versions.startswith("<") else here >= number


def _shown(name: str) -> str:
    """Return a name as the page shows it."""
    plain, _, versions = name.partition("[")
    versions = versions.rstrip("]")
    if not versions:
        return f"`{plain}`"
    number = versions.strip("<+")
    return f"`{plain}` ({'before' if versions.startswith('<') else 'since'} {number})"


@dataclass(frozen=True, slots=True)
class Row:
    """One function.

    Parameters
    ----------
    name
        Its name below ``scanpy``, with the versions in brackets where not all have it: ``[1.12+]`` is since that one,
        ``[<1.13]`` before it.
    arguments
        Their names, in scanpy's order, with versions in the same way.
    passes
        How often the matrix is read.
    result
        Whether it is scanpy's, or how it differs.
    """

    name: str
    arguments: str
    passes: str = ""
    result: str = ""

    @property
    def function(self) -> str:
        """The name without versions."""
        return self.name.partition("[")[0]

    def is_in(self, version: str) -> bool:
        """Tell whether a version of scanpy, as in ``"1.12"``, has the function."""
        return _is_in(self.name, version)

    def names(self, version: str) -> set[str]:
        """Return the arguments of a version of scanpy."""
        return {name.partition("[")[0] for name in self.arguments.split() if _is_in(name, version)}

    @property
    def runs(self) -> str:
        """Who runs it: an override, or scanpy itself, with the matrix in memory or without it."""
        overrides = {override.function: override for override in BUILTIN}
        if self.function not in overrides:
            return "scanpy as it is"
        if overrides[self.function].uses is rules.nothing:
            return "scanpy as it is"
        return "out of memory" if overrides[self.function].implementation else "scanpy, in memory"


EXACT = "scanpy's"
ROUNDED = "scanpy's to float rounding"

ROWS = (
    Row(
        "pp.calculate_qc_metrics",
        "adata expr_type var_type qc_vars percent_top layer use_raw inplace log1p parallel",
        "1, for any number of `qc_vars` and `percent_top`",
        f"{ROUNDED}; zeros are among the values that `percent_top` ranks, which scanpy does not rank of sparse "
        "matrices: this matters where there are negative ones",
    ),
    Row(
        "pp.combat",
        "adata key covariates inplace",
        "2",
        f"{ROUNDED}; the corrected matrix is a lazy step, `inplace=False` returns it so. Genes that are "
        "constant but "
        "not zero have no variance but rounding errors, in scanpy as here, which are not the same. A batch of "
        "one cell "
        "is refused, and with scanpy 1.11 makes all cells NaN",
    ),
    Row(
        "pp.downsample_counts",
        "adata counts_per_cell total_counts random_state[<1.13] rng[1.13+] replace copy",
        "1 (`total_counts`: 2, 1 if totals of cells are known)",
        f"{EXACT}, by the same draws, kept in scratch space. Files whose columns are not sorted within a row, or "
        "repeat, are drawn from as if they were sorted. `total_counts` takes 16 bytes a count while it draws (8 of "
        "each drawn with `replace=True`). Of dense arrays whose columns were reordered, scanpy drops what it "
        "has drawn",
    ),
    Row("pp.filter_cells", "data min_counts min_genes max_counts max_genes inplace copy", "0 after QC, else 1", EXACT),
    Row("pp.filter_genes", "data min_counts min_cells max_counts max_cells inplace copy", "0 after QC, else 1", EXACT),
    Row(
        "pp.filter_genes_dispersion[<1.13]",
        "data flavor min_disp max_disp min_mean max_mean n_bins n_top_genes log subset copy",
        "1",
        f"{ROUNDED}; as in scanpy, `n_bins` counts only where a matrix is given",
    ),
    Row(
        "pp.highly_variable_genes",
        "adata layer n_top_genes min_disp max_disp min_mean max_mean span n_bins flavor subset inplace batch_key "
        "filter_unexpressed_genes[1.12+] check_values",
        "1 (seurat_v3, seurat_v3_paper: 2), for any number of batches",
        f"{ROUNDED}, the ranks and genes {EXACT}",
    ),
    Row(
        "pp.log1p",
        "data base copy chunked chunk_size layer obsm",
        "0",
        f"{EXACT}; `chunk_size` changes nothing. Scanpy rounds logarithms of integers down with `chunked=True`: "
        "here they are floats",
    ),
    Row(
        "pp.neighbors",
        "adata n_neighbors n_pcs distances[1.12+] use_rep knn method transformer metric metric_kwds "
        "random_state[<1.13] rng[1.13+] "
        "key_added copy",
        "0; of X itself (`use_rep='X'`, `n_pcs=0`, or at most 50 genes): 1, into memory",
        f"{EXACT}, with the coordinates in `obsm` or with X in memory: its search compares cells here and "
        "there, each "
        "by all its genes. If X does not fit, the call is refused: run `pca` first. With `settings.graph = 'fast'`, as "
        "good by a stated measure: exact up to 50,000 cells, else a recall of at least 0.995 on a sample, which `uns` "
        "holds; connectivities are identical to rounding for the same neighbours, and rows of `distances` hold "
        "`n_neighbors` - 1 entries for many cells, too. Other metrics than euclidean, cosine and correlation, other "
        "methods than umap and gauss, `metric_kwds`, `transformer`, `distances`, `knn=False` are left to scanpy",
    ),
    Row(
        "pp.normalize_per_cell[<1.13]",
        "data counts_per_cell_after counts_per_cell key_n_counts copy layers use_rep min_counts",
        "0 after QC, else 1, and 1 a layer",
        f"{EXACT}; a bare matrix needs `copy=True`, `use_rep='X'` cannot go with `counts_per_cell`",
    ),
    Row(
        "pp.normalize_total",
        "adata target_sum exclude_highly_expressed max_fraction key_added layer obsm[1.12+] inplace copy",
        "0 with `target_sum`, else 1; 1 more with `exclude_highly_expressed`",
        EXACT,
    ),
    Row(
        "pp.pca",
        "data n_comps layer obsm[1.12+] zero_center svd_solver chunked chunk_size random_state[<1.13] "
        "rng[1.13+] return_info mask_var "
        "use_highly_variable[<1.13] dtype key_added copy",
        "2, the second of a compact copy",
        f"{EXACT} for small matrices; else components of the exact covariance, of which scanpy's solver gives some "
        "five digits",
    ),
    Row("pp.recipe_seurat", "adata log plot copy", "of its steps", "of its steps"),
    Row(
        "pp.recipe_weinreb17",
        "adata log mean_threshold cv_threshold n_pcs svd_solver random_state[<1.13] rng[1.13+] copy",
        "4, and those of `pca`",
        f"{ROUNDED}; as in scanpy, sparse matrices are refused. So are cells without counts, of which scanpy makes NaN",
    ),
    Row("pp.recipe_zheng17", "adata n_top_genes log plot copy", "of its steps", "of its steps"),
    Row(
        "pp.regress_out",
        "adata keys layer n_jobs copy",
        "1; 2 for a categorical key or keys that depend on each other, where a gene is fitted perfectly",
        f"{ROUNDED}; the residual is a lazy step. `n_jobs` changes nothing",
    ),
    Row(
        "pp.sample",
        "data fraction n rng copy replace axis p",
        "0 (of a bare matrix: the sample is read)",
        EXACT,
    ),
    Row(
        "pp.bbknn[1.13+]",
        "adata neighbors_within_batch n_pcs batches use_rep transformer metric metric_kwds trim rng key_added copy",
        "0; of X itself (`use_rep='X'`, `n_pcs=0`, or at most 50 genes): 1, into memory",
        f"{EXACT}, as those of `pp.neighbors`",
    ),
    Row(
        "pp.harmony_integrate[1.13+]",
        "adata key basis adjusted_basis dtype flavor n_clusters max_iter_harmony max_iter_clustering tol_harmony "
        "tol_clustering sigma theta tau ridge_lambda alpha batch_prune_threshold correction_method "
        "block_proportion rng",
        "0",
        EXACT,
    ),
    Row(
        "pp.hashsolo[1.13+]",
        "adata hashes priors pre_existing_clusters n_noise_barcodes key_added copy",
        "0",
        EXACT,
    ),
    Row("pp.scale", "data zero_center max_value copy layer obsm mask_obs", "0 after HVG, else 1", ROUNDED),
    Row(
        "pp.scrublet",
        "adata adata_sim batch_key sim_doublet_ratio expected_doublet_rate stdev_doublet_rate "
        "synthetic_doublet_umi_subsampling knn_dist_metric normalize_variance log_transform mean_center "
        "n_prin_comps "
        "use_approx_neighbors get_doublet_neighbor_parents n_neighbors threshold verbose copy "
        "random_state[<1.13] rng[1.13+]",
        "9 (a batch), most of the genes selected; more where parents of doublets do not fit 134 MB",
        f"{EXACT} for few cells. For many (some 10,000) neighbours are counted, in single precision, where scanpy "
        "finds them approximately; with `use_approx_neighbors=True`, `get_doublet_neighbor_parents` or another "
        "`knn_dist_metric` scanpy's graph is held if it fits the memory limit, else the call is refused",
    ),
    Row(
        "pp.scrublet_simulate_doublets",
        "adata layer sim_doublet_ratio synthetic_doublet_umi_subsampling random_seed[<1.13] rng[1.13+]",
        "1; more where parents do not fit 134 MB",
        f"{EXACT}, kept in scratch space; with `synthetic_doublet_umi_subsampling` below 1, in memory if they fit",
    ),
    Row("pp.sqrt", "data copy chunked chunk_size", "0", f"{EXACT}; `chunk_size` changes nothing"),
    Row(
        "pp.subsample",
        "data fraction n_obs random_state copy",
        "0 (of a bare matrix: the sample is read)",
        EXACT,
    ),
    Row(
        "experimental.pp.highly_variable_genes",
        "adata theta clip n_top_genes batch_key chunksize flavor check_values layer subset inplace",
        "2, for any number of batches; 1 after QC, where there is one",
        f"{ROUNDED}; `chunksize` changes nothing. Negative values and NaN in a sparse matrix are refused, or "
        "ranked in "
        "memory if that fits",
    ),
    Row(
        "experimental.pp.normalize_pearson_residuals",
        "adata theta clip check_values layer obsm[1.12+] inplace copy",
        "1; 0 with `check_values=False` after QC",
        f"{ROUNDED}; the residuals are a lazy step, `inplace=False` returns them so",
    ),
    Row(
        "experimental.pp.normalize_pearson_residuals_pca",
        "adata theta clip n_comps random_state[<1.13] rng[1.13+] kwargs_pca mask_var use_highly_variable[<1.13] "
        "check_values inplace",
        "1, those of `pca`, and 1 for the data frame in `uns`",
        f"{ROUNDED}; scanpy leaves all residuals as a data frame in `uns`, which is refused if it does not fit the "
        "memory limit: `inplace=False` leaves them lazy",
    ),
    Row(
        "experimental.pp.recipe_pearson_residuals",
        "adata theta clip n_top_genes batch_key chunksize n_comps random_state[<1.13] rng[1.13+] kwargs_pca "
        "check_values inplace",
        "2 for the genes, and as `normalize_pearson_residuals_pca`",
        f"{ROUNDED}; scanpy leaves all residuals as a data frame in `uns`, which is refused if it does not fit the "
        "memory limit: `inplace=False` leaves them lazy",
    ),
    Row(
        "tl.dendrogram",
        "adata groupby n_pcs use_rep var_names use_raw cor_method linkage_method optimal_ordering key_added inplace",
        "0 with a representation, 1 with `var_names` or of few genes",
        ROUNDED,
    ),
    Row(
        "tl.diffmap",
        "adata n_comps neighbors_key random_state[<1.13] rng[1.13+] key_added[1.13+] copy",
        "0",
        EXACT,
    ),
    Row(
        "tl.dpt",
        "adata n_dcs n_branchings min_group_size allow_kendall_tau_shift neighbors_key diffmap_key[1.13+] copy",
        "0",
        EXACT,
    ),
    Row(
        "tl.draw_graph",
        "adata layout init_pos root random_state[<1.13] rng[1.13+] n_jobs adjacency key_added[1.13+] "
        "key_added_ext neighbors_key obsp copy kwds",
        "0",
        EXACT,
    ),
    Row("tl.embedding_density", "adata basis groupby key_added components", "0", EXACT),
    Row(
        "tl.filter_rank_genes_groups",
        "adata key groupby layer[1.13+] use_raw key_added min_in_group_fraction min_fold_change "
        "max_out_group_fraction compare_abs",
        "1, for all groups; 0 after a ranking with `pts`",
        EXACT,
    ),
    Row(
        "tl.ingest",
        "adata adata_ref obs embedding_method labeling_method neighbors_key inplace kwargs",
        "1 a projection (`pca` among the methods: 2) and 1 for means",
        f"{ROUNDED}; either side, or both, may be out of memory. A reference whose neighbors are those of "
        "expression "
        "values is brought into memory if it fits",
    ),
    Row(
        "tl.leiden",
        "adata resolution restrict_to random_state[<1.13] rng[1.13+] key_added adjacency directed use_weights "
        "n_iterations "
        "partition_type neighbors_key obsp copy flavor clustering_args",
        "0",
        f"{EXACT}, cluster by cluster for each seed; the graph for igraph is built without a Python object an edge. "
        "With `settings.graph = 'fast'` Leiden is ours, without igraph: other clusters than scanpy's for a seed, as "
        "good by modularity and the adjusted Rand index as those of another seed, for both flavors (leidenalg's looks "
        "for the same modularity where the graph is the same in both directions, and numbers clusters by size). "
        "`directed=True`, `partition_type`, `resolution=None` of leidenalg, its other arguments, `weights` and "
        "`node_in_weights` of igraph, and weights that are not positive are left to scanpy. Who names leidenalg is "
        "warned as by scanpy 1.12; nothing is said of the default that will change",
    ),
    Row(
        "tl.louvain",
        "adata resolution random_state restrict_to key_added adjacency flavor directed use_weights partition_type "
        "partition_kwargs neighbors_key obsp copy",
        "0",
        f"{EXACT}; the graph for igraph is built without a Python object an edge",
    ),
    Row(
        "tl.marker_gene_overlap",
        "adata reference_markers key method normalize top_n_markers adj_pval_threshold key_added inplace",
        "0",
        EXACT,
    ),
    Row("tl.paga", "adata groups use_rna_velocity model neighbors_key copy", "0", EXACT),
    Row("tl.paga_compare_paths", "adata1 adata2 adjacency_key adjacency_key2", "0", EXACT),
    Row("tl.paga_degrees", "adata", "0", EXACT),
    Row("tl.paga_expression_entropies", "adata", "0", EXACT),
    Row(
        "tl.rank_genes_groups",
        "adata groupby mask_var use_raw groups reference n_genes rankby_abs pts key_added copy method corr_method "
        "tie_correct layer mean_in_log_space[1.13+] kwds",
        "1, for all groups (wilcoxon: and one of a copy by genes; logreg: 1, into memory)",
        f"{ROUNDED}; the ranks of Wilcoxon {EXACT}. Of scaled data, scanpy 1.11 gives score 0 to some of the genes "
        "that are constant in one of the two groups: their variance there is a rounding error, which may be "
        "below zero. "
        "So it is here with scanpy 1.11, of other genes, as the error is another. scanpy 1.12 tests them all, "
        "in memory "
        "and here",
    ),
    Row(
        "tl.score_genes",
        "adata gene_list ctrl_as_ref ctrl_size gene_pool n_bins score_name random_state[<1.13] rng[1.13+] copy "
        "use_raw layer",
        "2; 1 if means of genes are known",
        ROUNDED,
    ),
    Row("tl.score_genes_cell_cycle", "adata s_genes g2m_genes copy kwargs", "that of two `score_genes`", ROUNDED),
    Row(
        "tl.sim",
        "model params_file tmax branching nrRealizations noiseObs noiseDyn step rng[1.13+] seed writedir",
        "0",
        f"{EXACT}, in memory",
    ),
    Row(
        "tl.tsne",
        "adata n_pcs n_components[1.12+] use_rep perplexity metric early_exaggeration learning_rate "
        "random_state[<1.13] rng[1.13+] "
        "use_fast_tsne n_jobs key_added copy",
        "0; `use_rep='X'`: 1, into memory",
        EXACT,
    ),
    Row(
        "tl.umap",
        "adata min_dist spread n_components maxiter alpha gamma negative_sample_rate init_pos "
        "random_state[<1.13] rng[1.13+] a b method "
        "key_added neighbors_key copy",
        "0; where neighbors are those of `X`: 1, into memory",
        f"{EXACT}; with `settings.graph = 'fast'` other coordinates, as of another seed, whose trustworthiness is at "
        "least 0.99 of that of umap-learn's, and which keep at least 0.99 as many of the 15 and 30 nearest neighbours",
    ),
    Row(
        "get.aggregate",
        "adata by func acc[1.13+] axis mask dof layer obsm varm",
        "1, for any number of `func`",
        ROUNDED,
    ),
    Row(
        "get.obs_df", "adata keys obsm_keys layer gene_symbols use_raw", "1; none if these genes were read last", EXACT
    ),
    Row(
        "get.rank_genes_groups_df",
        "adata group key pval_cutoff log2fc_min log2fc_max gene_symbols",
        "0",
        EXACT,
    ),
    Row("get.pca[1.13+]", "adata key_added", "0", EXACT),
    Row("get.var_df", "adata keys varm_keys layer", "0 (the cells are read)", EXACT),
    Row(
        "metrics.gearys_c",
        "adata_or_graph vals use_graph neighbors_key[1.12+] layer obsm obsp use_raw",
        "1, if all values fit a share of the limit; else more, some genes at a time; of `obsm` 0",
        ROUNDED,
    ),
    Row(
        "metrics.morans_i",
        "adata_or_graph vals use_graph neighbors_key[1.12+] layer obsm obsp use_raw",
        "1, if all values fit a share of the limit; else more, some genes at a time; of `obsm` 0",
        ROUNDED,
    ),
    Row(
        "pl.highest_expr_genes",
        "adata n_top layer gene_symbols log show save ax kwds",
        "1 after QC, else 2",
        EXACT,
    ),
)

_HEAD = """\
# Compatibility

What becomes of each function of scanpy when the matrix stays on disk. All arguments that are named mean what they mean
in scanpy; brackets say since or before which version of scanpy there is a function or an argument. Held to scanpy
VERSIONS, by tests that compare the rows with the installed functions.

With scanpy 1.13, `random_state` is taken wherever `rng` is, accessors of anndata (`A.layers["counts"]`) wherever
scanpy takes them, and `scanpy.settings.preset` is followed. A private name of scanpy that a later version lacks takes
down the function that needs it: scanpy's own runs instead, with a warning.

- *out of memory*: run by scanpy-oom, in the number of passes over the matrix that is given. `adata.oom.explain("NAME",
  ...)` plans a call without running it.
- *scanpy as it is*: scanpy's own function, which reaches the matrix only by what works out of memory anyway.
- *scanpy, in memory*: scanpy's own function, with the matrix in memory for the time of the call if it fits
  `scanpy_oom.settings.memory_limit`; else the call is refused.

Plots (`sc.pl`) are scanpy's own. All genes of a plot are read in one pass, and in none if they were read last.

On a view, functions that change `X` make the view an AnnData of its own, as scanpy does with anndata 0.13. With anndata
0.12, some of scanpy's write into the AnnData that is viewed; ours never do.

| function | runs | arguments | passes | result |
| --- | --- | --- | --- | --- |
"""

_CHANGES = """
## What scripts do to X

A sparse matrix out of memory is a `csr_matrix` or `csc_matrix` (or their arrays) for `issparse`, `isinstance`, SciPy
and other packages. The one question with another answer is `type(X) == csr_matrix`.

| what a script does | what becomes of it |
| --- | --- |
"""

_OF_SCRIPTS = (
    (
        "`X * 2`, `X / row_sums`, `np.log1p(X)`, `X > 3`, `X.astype(...)`, `X.multiply(...)`, `X.power(2)`",
        "lazy: a step of the chain, in a new matrix",
    ),
    (
        "`X *= 2`, `X /= 2`; of a dense matrix `+=`, `-=`, `**=`, `np.log1p(X, out=X)`",
        "lazy, in place: all that hold the matrix see it",
    ),
    (
        "`X[X > 3] = 3` and other comparisons of the same matrix with a number",
        "lazy, in place",
    ),
    (
        "`X.data = np.log1p(X.data)`, `X.data[:] = 1`, `X.data[X.data > 3] = 3`, `X.data += 1`",
        "lazy, in place: of the stored values alone",
    ),
    (
        "`X.eliminate_zeros()`",
        "lazy, in place; what is done to `X.data` afterwards is done in memory",
    ),
    (
        "`X[rows] = ...`, `X[:, j] = v`, `X[i, j] = v`, `X[X.nonzero()] = 1`, `X[mask] = 1`",
        "a patch over the matrix, without a pass; where there are many places, one pass and a changed copy in scratch "
        "space",
    ),
    (
        "`X.setdiag(...)`, `X.data = array`, `X.indices = array`, `X.sort()`",
        "in memory, within the limit, announced; what results is kept in compact form, in scratch space if it is large",
    ),
    (
        "`X.sum`, `mean`, `var`, `min`, `max`, `getnnz`, `X @ v`, `X.T @ X`",
        "one pass",
    ),
    (
        "`X[rows]`, `X[:, genes]`, `X[i, j]`",
        "read into memory",
    ),
    (
        "`csr_matrix(X)`, `vstack`, `hstack`, `mmwrite`, `save_npz`, `X.tocoo()`, any other method of SciPy",
        "in memory, within the limit, announced",
    ),
    (
        "`X.data` handed to a package",
        "an array in memory; what is written to it by index or operator is written to X, compiled code finds "
        "it read-only",
    ),
)
"""What scripts do to X, and what becomes of it."""

_ALIASES = """
What scanpy changes in place (`log1p` and `normalize_total` of floating-point numbers, say) is seen under all names that
the array has, as in memory: `adata.raw = adata` before normalising has its values normalised, too.

What is made of a matrix in memory is a copy. What is written to it does not reach X, though SciPy and NumPy would share
the values: `csr_matrix(X)`, `np.asarray(X)` of a dense X, `X.T`, rows and slices of a dense X, and estimators of
scikit-learn that were made with `copy=False`. Set X to the result (`adata.X = scaler.fit_transform(adata.X)`).
Functions of scikit-learn that work in place, `normalize(X, copy=False)` and `inplace_column_scale` say, do change X.

NumPy's functions that write to an array are refused (`np.copyto`, `np.putmask`, `np.fill_diagonal`,
`np.nan_to_num(X, copy=False)`): assign to places instead, as in `X[np.isnan(X)] = 0`.
"""

_MEANT = """
## Differences that are meant

Random chains of calls on random data, in memory and out of memory, leave the same behind: values, types, keys, their
order, and errors. What differs all the same is meant:

"""


def page() -> str:
    """Return the page."""
    lines = []
    for row in ROWS:
        arguments = ", ".join(_shown(name) for name in row.arguments.split())
        passes, result = row.passes, row.result
        if row.runs == "scanpy, in memory":
            passes, result = passes or "1, into memory", result or EXACT
        lines.append(f"| {_shown(row.name)} | {row.runs} | {arguments} | {passes} | {result} |\n")
    *others, newest = HELD_TO
    head = _HEAD.replace("VERSIONS", f"{', '.join(others)} and {newest}")
    meant = [f"- **{entry.name}:** {entry.reason}\n" for entry in runpy.run_path(str(KNOWN))["KNOWN"]]
    changes = [f"| {what} | {result} |\n" for what, result in _OF_SCRIPTS]
    return "".join([head, *lines, _CHANGES, *changes, _ALIASES, _MEANT, *meant])


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
