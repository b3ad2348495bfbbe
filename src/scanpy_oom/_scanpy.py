"""The names that scanpy does not publish and this package uses: each with the places where versions of scanpy have it.

No other module imports a private name of scanpy. A name is looked up each time it is used, so that one that a version
lacks takes down the function that needs it and nothing else: the call falls back to scanpy's own function, with a
warning that says which version lacks what.
"""

from __future__ import annotations

import importlib
import json
from collections.abc import Sequence
from importlib.metadata import version
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np
from packaging.version import Version

from .errors import UnsupportedOutOfMemory
from .messages import telling_user

if TYPE_CHECKING:
    from collections.abc import Mapping
    from contextlib import AbstractContextManager
    from typing import TypeAlias, TypedDict, TypeVar

    T = TypeVar("T")
    RNG: TypeAlias = np.random.Generator | np.random.BitGenerator | np.random.SeedSequence | int | Sequence[int] | None
    Seed: TypeAlias = np.random.RandomState | int | None

    class Draws(TypedDict, total=False):
        """The argument by which a function of scanpy draws, by its name in the installed version."""

        rng: np.random.Generator
        random_state: Seed


__all__ = [
    "PLACES",
    "SCANPY_1_12",
    "SCANPY_1_13",
    "UNSET",
    "MissingFromScanpy",
    "is_second_preset",
    "is_unset",
    "place_of",
    "preset",
    "quiet",
    "random_state",
]

SCANPY_1_12 = Version(version("scanpy")) >= Version("1.12rc1")
SCANPY_1_13 = Version(version("scanpy")) >= Version("1.13.0a1")

UNSET: Any = type("Unset", (), {"__repr__": lambda _: "UNSET"})()
"""Default of an argument of an override that is not given; calls through scanpy have scanpy's default instead."""

PLACES: Mapping[str, tuple[str, ...]] = {
    # arguments
    "check_use_raw": ("_utils:check_use_raw", "_utils:_check_use_raw"),
    "check_mask": ("get:_check_mask",),
    "choose_graph": ("_utils:_choose_graph",),
    "choose_representation": ("tools._utils:_choose_representation_compat", "tools._utils:_choose_representation"),
    "draws_of_numpy": ("_utils.random:_if_legacy_apply_global",),
    "empty": ("_utils:_empty",),
    "get_rep": ("get:_get_arr", "get:_get_obs_rep"),
    "handle_mask_var": ("preprocessing._pca:_handle_mask_var",),
    "init_pos_from_paga": ("tools._utils:get_init_pos_from_paga",),
    "legacy_rng": ("_utils.random:_LegacyRng",),
    "legacy_random_state": ("_utils.random:_legacy_random_state",),
    "normalize_by": ("get._aggregated:_normalize_by",),
    "rep_from_json": ("get.get:_rep_from_json",),
    "rep_to_json": ("get.get:_rep_to_json",),
    "get_vectors": ("get:_get_vec_compat",),
    "resolve_axis": ("_utils:_resolve_axis",),
    "sanitize_anndata": ("_utils:sanitize_anndata",),
    "set_rep": ("get:_set_obs_rep",),
    "view_to_actual": ("_utils:view_to_actual",),
    # files
    "download": ("io._download:download", "readwrite:_check_datafile_present_and_download"),
    # sums
    "axis_nnz": ("_utils:axis_nnz",),
    "axis_sum": ("_utils:axis_sum",),
    "nan_means": ("tools._score_genes:_nan_means",),
    # sc.pp
    "combat_aprior": ("preprocessing._combat:_aprior",),
    "combat_bprior": ("preprocessing._combat:_bprior",),
    "combat_design_matrix": ("preprocessing._combat:_design_matrix",),
    "downsample_array": ("preprocessing._simple:_downsample_array",),
    "handle_sklearn_args": ("preprocessing._pca:_handle_sklearn_args",),
    "hvg_cutoffs": ("preprocessing._highly_variable_genes:_Cutoffs",),
    "hvg_disp_stats": ("preprocessing._highly_variable_genes:_get_disp_stats",),
    "hvg_mean_bins": ("preprocessing._highly_variable_genes:_get_mean_bins",),
    "hvg_seurat_v3": ("preprocessing._highly_variable_genes:_highly_variable_genes_seurat_v3",),
    "hvg_subset_genes": ("preprocessing._highly_variable_genes:_subset_genes",),
    "sample_comb": ("preprocessing._utils:sample_comb",),
    "scrublet": ("preprocessing._scrublet.core:Scrublet",),
    "scrublet_call_doublets": ("preprocessing._scrublet:_scrublet_call_doublets",),
    "subsample_counts": ("preprocessing._scrublet.sparse_utils:subsample_counts",),
    # sc.tl
    "check_score_genes_args": ("tools._score_genes:_check_score_genes_args",),
    "ingest_dim_dict": ("tools._ingest:_DimDict",),
    "rank_genes": ("tools._rank_genes_groups:_RankGenes",),
    "rank_methods": ("_settings.presets:DETest", "tools._rank_genes_groups:_Method"),
    "score_genes_bins": ("tools._score_genes:_score_genes_bins",),
    # sc.get, sc.metrics, sc.pl
    "aggregate_array": ("get._aggregated:_aggregate",),
    "combine_categories": ("get._aggregated:_combine_categories",),
    "get_graph": ("metrics._common:_get_graph",),
    # graphs for igraph
    "rename_groups": ("tools._utils_clustering:rename_groups",),
    "restrict_adjacency": ("tools._utils_clustering:restrict_adjacency",),
    "graph_from_adjacency": ("_utils:get_igraph_from_adjacency",),
    "savefig_or_show": ("plotting.legacy._utils:savefig_or_show", "plotting._utils:savefig_or_show"),
}
"""Places of each name, below ``scanpy``; those of newer versions first."""


MEMBERS: Mapping[str, tuple[str, ...]] = {
    "rank_genes": ("__init__", "compute_statistics", "t_test"),
    "scrublet": ("calculate_doublet_scores", "call_doublets", "set_manifold"),
}
"""Members that classes among them must have."""


WARNING = {"choose_representation", "handle_mask_var", "handle_sklearn_args", "savefig_or_show", "view_to_actual"}
"""Functions among them that warn, which is to be at the user's line."""


class MissingFromScanpy(UnsupportedOutOfMemory):
    """The installed scanpy has a name no longer that a function of ours needs."""

    def __init__(self, name: str) -> None:
        places = " nor ".join(f"`scanpy.{place.replace(':', '.')}`" for place in PLACES[name])
        super().__init__(f"scanpy {version('scanpy')} has no {places}, which its out-of-memory version needs")


def __getattr__(name: str) -> Any:
    if name not in PLACES:
        msg = f"module {__name__!r} has no attribute {name!r}"
        raise AttributeError(msg)
    for place in PLACES[name]:
        module, _, attribute = place.partition(":")
        try:
            found = getattr(importlib.import_module(f"scanpy.{module}"), attribute)
        except (ModuleNotFoundError, AttributeError):
            continue
        if all(hasattr(found, member) for member in MEMBERS.get(name, ())):
            return telling_user(found) if name in WARNING else found
    _raise_missing(name)


def _raise_missing(name: str) -> NoReturn:
    raise MissingFromScanpy(name)


def is_unset(value: object) -> bool:
    """Return whether a value is what scanpy takes for an argument that was not given."""
    kind = type(value)
    return value is UNSET or (kind.__module__.startswith("scanpy.") and kind.__name__ in {"Empty", "Default"})


def preset(value: T, function: str, parameter: str, otherwise: Any = None) -> T:
    """Return an argument, or what ``scanpy.settings.preset`` has for it where it was not given.

    Parameters
    ----------
    value
        The argument.
    function, parameter
        Names in the preset.
    otherwise
        The default of versions of scanpy that have no presets.
    """
    if not is_unset(value):
        return value
    chosen = getattr(_settings(), "preset", None)
    return otherwise if chosen is None else getattr(getattr(chosen, function), parameter)


def place_of(rep: Any) -> str | None:
    """Return where an accessor of anndata points to: ``"X"`` or ``"layers/NAME"``; `None` for what is in memory.

    With the second preset of scanpy, a text is one too. What scanpy left in `adata.uns` is a list of one text.
    """
    if not isinstance(rep, str) and isinstance(rep, Sequence | np.ndarray):
        accessors = importlib.import_module("anndata.acc")
        rep = accessors.A.from_json(json.loads(rep[0]), vec=False)
    elif isinstance(rep, str):
        accessors = importlib.import_module("anndata.acc")
        rep = accessors.A.resolve(rep, vec=False)
    if type(rep).__name__ != "LayerAcc":
        return None
    return "X" if rep.k is None else f"layers/{rep.k}"


def is_second_preset() -> bool:
    """Return whether ``scanpy.settings.preset`` asks for the defaults of scanpy 2."""
    return str(getattr(_settings(), "preset", "")) == "scanpy-v2-preview"


def random_state(rng: RNG) -> Seed:
    """Return what scanpy hands to scikit-learn for `rng`: the seed that was given as `random_state`, if one was."""
    return __getattr__("legacy_random_state")(np.random.default_rng(rng))


def quiet() -> AbstractContextManager[object]:
    """Keep scanpy from logging for the time of a context."""
    settings = _settings()
    if hasattr(settings, "override"):
        return settings.override(verbosity=0)
    return settings.verbosity.override(0)


def _settings() -> Any:
    return importlib.import_module("scanpy").settings
