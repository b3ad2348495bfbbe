"""Calls of `scanpy.pp` and `scanpy.experimental.pp`."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from .drawing import BOTH, Values, layer
from .operations import CHUNKS, FLAGS, LABELS, Scanpy
from .terms import adata

__all__ = ["PREPROCESSING"]

_INPLACE: Mapping[str, Values] = {"inplace": BOTH, "copy": BOTH}
_THRESHOLDS = (0, 1, 2, 3, 5, 10, 100, 2.5, -1)
_BASE = (2, 10, 0.5, np.e, 1)
_RESIDUALS: Mapping[str, Values] = {
    "theta": (100, 1, 0, -1, np.inf),
    "clip": (None, 1.0, np.inf, -1),
    "check_values": BOTH,
    "layer": (layer,),
    "inplace": BOTH,
}
_DISPERSION: Mapping[str, Values] = {
    "n_top_genes": (1, 3, 5, 10, 1000, 0),
    "min_disp": (0.5, 0.0, -1),
    "max_disp": (1.0, np.inf),
    "min_mean": (0.0125, 0, 0.5),
    "max_mean": (3, 10),
    "n_bins": (20, 3, 1, 2),
    "flavor": ("seurat", "cell_ranger"),
    "subset": BOTH,
}

_QUALITY = (
    Scanpy(
        5,
        "pp.calculate_qc_metrics",
        some={
            "qc_vars": (["mt"], "mt", ["mt", "hv"], ["nope"]),
            "percent_top": (None, [1, 2], (3,), [1000], (), [2, 1], [0]),
            "layer": (layer,),
            "use_raw": BOTH,
            "inplace": (True, True, False),
            "log1p": BOTH,
            "expr_type": ("umis",),
            "var_type": ("vs",),
        },
    ),
    Scanpy(
        4,
        "pp.filter_cells",
        one=dict.fromkeys(("min_counts", "min_genes", "max_counts", "max_genes"), _THRESHOLDS),
        some=_INPLACE,
    ),
    Scanpy(
        4,
        "pp.filter_genes",
        one=dict.fromkeys(("min_counts", "min_cells", "max_counts", "max_cells"), _THRESHOLDS),
        some=_INPLACE,
    ),
    Scanpy(0.2, "pp.filter_cells", given={"min_counts": (3,), "max_genes": (5,)}),
    Scanpy(0.2, "pp.filter_genes"),
    Scanpy(0.3, "pp.filter_genes", first=(adata.X,), given={"min_counts": (3,)}),
    Scanpy(
        0.3,
        "pp.scrublet",
        given={"n_prin_comps": (2, 3, 30), "random_state": (0,)},
        some={
            "batch_key": ("b",),
            "sim_doublet_ratio": (1.0, 2.0),
            "log_transform": (True,),
            "mean_center": (False,),
            "normalize_variance": (False,),
            "threshold": (0.2,),
        },
    ),
)
_VALUES = (
    Scanpy(
        6,
        "pp.normalize_total",
        some={
            "target_sum": (1, 1e4, 10.0, 0, -3.0),
            "exclude_highly_expressed": BOTH,
            "max_fraction": (0.05, 0.2, 1.0, 0.0, 2),
            "key_added": ("nf",),
            "layer": (layer,),
            "inplace": (True, True, False),
            "copy": BOTH,
        },
    ),
    Scanpy(
        6,
        "pp.log1p",
        some={
            "base": _BASE,
            "copy": BOTH,
            "chunked": BOTH,
            "chunk_size": CHUNKS,
            "layer": (layer,),
            "obsm": ("X_pca",),
        },
    ),
    Scanpy(1.5, "pp.sqrt", some={"copy": BOTH, "chunked": BOTH, "chunk_size": CHUNKS}),
    Scanpy(
        4,
        "pp.scale",
        some={
            "zero_center": BOTH,
            "max_value": (1.0, 10, 0.1, 0, -1),
            "copy": BOTH,
            "layer": (layer,),
            "obsm": ("X_pca",),
            "mask_obs": FLAGS,
        },
    ),
    *(Scanpy(0.2, f"pp.{name}", first=(adata.X,)) for name in ("log1p", "sqrt", "scale", "normalize_total")),
    *(Scanpy(0.1, f"pp.{name}", first=(adata.X,), given={"copy": BOTH}) for name in ("log1p", "scale", "pca")),
    Scanpy(
        2,
        "pp.regress_out",
        ((["q"], ["q", "i"], "b", "g", ["nope"], "flag", "s", []),),
        some={"layer": (layer,), "copy": BOTH, "n_jobs": (1,)},
    ),
    Scanpy(
        2,
        "pp.combat",
        given={"key": ("b", "b", "g", "nope")},
        some={"covariates": (["q"], ["g"], ["nope"]), "inplace": BOTH},
    ),
    Scanpy(
        2,
        "pp.downsample_counts",
        one={
            "counts_per_cell": (3, 10, 0, 2.5, lambda draw: list(range(draw.adata.n_obs))),
            "total_counts": (20, 5, 10**6),
        },
        some={"random_state": (0, 3), "replace": BOTH, "copy": BOTH},
    ),
    Scanpy(
        1,
        "pp.normalize_per_cell",
        some={
            "counts_per_cell_after": (10.0, 1e4),
            "copy": BOTH,
            "key_n_counts": ("kn",),
            "layers": ("all", ["counts"], []),
            "use_rep": ("after", "X", None),
            "min_counts": (0, 1, 5),
        },
    ),
    Scanpy(1.5, "experimental.pp.normalize_pearson_residuals", some={**_RESIDUALS, "copy": BOTH}),
)
_GENES = (
    Scanpy(
        5,
        "pp.highly_variable_genes",
        some={
            **_DISPERSION,
            "layer": (layer,),
            "inplace": (True, True, False),
            "batch_key": LABELS,
            "check_values": (False,),
        },
    ),
    Scanpy(
        2,
        "pp.highly_variable_genes",
        given={"flavor": ("seurat_v3", "seurat_v3_paper"), "n_top_genes": (1, 3, 10, 100)},
        some={
            "layer": (layer,),
            "span": (0.5, 0.9, 1),
            "subset": BOTH,
            "inplace": BOTH,
            "batch_key": ("b", "g"),
            "check_values": BOTH,
        },
        least=(8, 20),
    ),
    Scanpy(1, "pp.filter_genes_dispersion", some={**_DISPERSION, "log": BOTH, "copy": BOTH}),
    Scanpy(
        1.5,
        "experimental.pp.highly_variable_genes",
        given={"n_top_genes": (1, 3, 10, 1000)},
        some={**_RESIDUALS, "batch_key": ("b", "g"), "chunksize": CHUNKS, "subset": BOTH},
    ),
)
_REDUCED = (
    Scanpy(
        4,
        "pp.pca",
        some={
            "n_comps": (1, 2, 3, 5, 0, 100),
            "layer": (layer,),
            "zero_center": (True, False, None),
            "svd_solver": ("arpack", "randomized", "auto", "bogus", "covariance_eigh", "lobpcg"),
            "chunked": BOTH,
            "chunk_size": (3, 10),
            "random_state": (1,),
            "return_info": BOTH,
            "mask_var": ("hv", "mt", None, "nope"),
            "use_highly_variable": BOTH,
            "dtype": ("float64", "float32"),
            "key_added": ("P",),
            "copy": BOTH,
        },
    ),
    Scanpy(
        0.4,
        "experimental.pp.normalize_pearson_residuals_pca",
        some={
            "theta": (100, 1),
            "clip": (None, 1.0),
            "n_comps": (1, 2),
            "mask_var": ("hv",),
            "inplace": BOTH,
            "check_values": (False,),
        },
    ),
    Scanpy(
        0.4,
        "experimental.pp.recipe_pearson_residuals",
        given={"n_top_genes": (3, 10)},
        some={"n_comps": (1, 2), "batch_key": ("b",), "inplace": BOTH},
    ),
    Scanpy(0.2, "pp.recipe_zheng17", some={"log": BOTH, "copy": BOTH, "n_top_genes": (3, 10)}),
    Scanpy(0.2, "pp.recipe_seurat", some={"log": BOTH, "copy": BOTH}),
    Scanpy(
        0.3,
        "pp.recipe_weinreb17",
        some={"log": BOTH, "copy": BOTH, "n_pcs": (1, 2), "mean_threshold": (0,), "cv_threshold": (0,)},
    ),
    Scanpy(
        0.3,
        "pp.neighbors",
        given={"n_neighbors": (2, 5)},
        some={
            "use_rep": ("X", "X_pca"),
            "n_pcs": (0, 2),
            "metric": ("cosine",),
            "knn": (False,),
            "method": ("gauss",),
        },
    ),
    Scanpy(0.3, "tl.leiden", given={"flavor": ("igraph",), "n_iterations": (2,)}, some={"key_added": ("g",)}),
)
_SAMPLES = (
    Scanpy(
        2,
        "pp.subsample",
        one={"fraction": (0.5, 1.5), "n_obs": (3, 1000, 0)},
        some={"random_state": (1,), "copy": BOTH},
    ),
    Scanpy(
        1,
        "pp.sample",
        one={"fraction": (0.5, 1.5), "n": (3, 1000)},
        given={"rng": (0,)},
        some={"replace": BOTH, "axis": ("obs", "var", 0, 1), "copy": BOTH},
    ),
)

PREPROCESSING = (*_QUALITY, *_VALUES, *_GENES, *_REDUCED, *_SAMPLES)
