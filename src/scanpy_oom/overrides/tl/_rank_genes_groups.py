"""Ranking genes by group: :func:`scanpy.tl.rank_genes_groups`, t-tests."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, get_args

import numpy as np
import pandas as pd
from scanpy import logging as logg

from ... import _scanpy
from ..._scanpy import SCANPY_1_13, UNSET
from ...engine.explain import plan
from ...errors import UnsupportedOutOfMemory
from ...messages import warn_user
from ._group_tests import GroupTests

if TYPE_CHECKING:
    from collections.abc import Iterable

    from anndata import AnnData
    from numpy.typing import NDArray

__all__ = ["rank_genes_groups"]

_CORRECTIONS = {"benjamini-hochberg", "bonferroni"}
_DTYPES = {"names": "O", "scores": "float32", "logfoldchanges": "float32", "pvals": "float64", "pvals_adj": "float64"}


def rank_genes_groups(  # noqa: PLR0913
    adata: AnnData,
    groupby: str,
    *,
    mask_var: NDArray[np.bool_] | str | None = UNSET,
    use_raw: bool | None = None,
    groups: str | Iterable[str] = "all",
    reference: str = "rest",
    n_genes: int | None = None,
    rankby_abs: bool = False,
    pts: bool = False,
    key_added: str | None = None,
    copy: bool = False,
    method: str | None = None,
    corr_method: str = "benjamini-hochberg",
    tie_correct: bool = False,
    layer: str | None = None,
    mean_in_log_space: bool = UNSET,
    **kwds: object,
) -> AnnData | None:
    """Rank genes for characterizing groups: one pass for all groups.

    See :func:`scanpy.tl.rank_genes_groups`.
    """
    given, method = method, _covered(method)
    if "illico" in method and not _is_default(given):
        warn_user(_ILLICO, DeprecationWarning)
    var_mask = _var_mask(adata, mask_var)
    in_log_space = _in_log_space(mean_in_log_space)
    use_raw = _uses_raw(adata, use_raw)
    if "only_positive" in kwds:
        rankby_abs = not kwds.pop("only_positive")  # an older name, which scanpy still takes
    start = logg.info("ranking genes")
    _check_methods(method, corr_method)
    adata = adata.copy() if copy else adata
    _scanpy.sanitize_anndata(adata)
    test = GroupTests(
        adata,
        _groups_order(adata, groupby, groups, reference),
        groupby,
        mask_var=var_mask,
        reference=reference,
        use_raw=use_raw,
        layer=layer,
        comp_pts=pts,
        method=method,
        mean_in_log_space=in_log_space,
    )
    n_columns = test.X.shape[1]
    n_genes = n_columns if n_genes is None else min(n_genes, n_columns)
    # a name, two numbers of four bytes and two of eight for each gene; fractions of cells, of group and rest
    plan.results(test.n_groups * (n_genes * (8 + 2 * 4 + 2 * 8) + (2 * 8 * n_columns if pts else 0)))
    test.gather()
    if test.is_count_data:
        logg.warning(
            "It seems you use rank_genes_groups on the raw count data. "
            "Please logarithmize your data before calling rank_genes_groups."
        )
    logg.debug(f"consider {groupby!r} groups:")
    logg.debug(f"with sizes: {np.count_nonzero(test.groups_masks_obs, axis=1)}")
    how = {"mean_in_log_space": in_log_space} if SCANPY_1_13 else {}
    test.compute_statistics(
        method,
        corr_method=corr_method,
        n_genes_user=n_genes,
        rankby_abs=rankby_abs,
        tie_correct=tie_correct,
        **how,
        **kwds,
    )
    key_added = "rank_genes_groups" if key_added is None else key_added
    params = {
        "groupby": groupby,
        "reference": reference,
        "method": method,
        "use_raw": use_raw,
        "layer": layer,
        "corr_method": corr_method,
    }
    adata.uns[key_added] = {"params": params, **_tables(test)}
    _log_added(key_added, start)
    return adata if copy else None


def _log_added(key_added: str, start: object) -> None:
    logg.info(
        "    finished",
        time=start,
        deep=(
            f"added to `.uns[{key_added!r}]`\n"
            "    'names', sorted np.recarray to be indexed by group ids\n"
            "    'scores', sorted np.recarray to be indexed by group ids\n"
            "    'logfoldchanges', sorted np.recarray to be indexed by group ids\n"
            "    'pvals', sorted np.recarray to be indexed by group ids\n"
            "    'pvals_adj', sorted np.recarray to be indexed by group ids"
        ),
    )


_ILLICO = (
    "`wilcoxon_illico` flavor will be removed in scanpy 2.0 and be simply the new `wilcoxon` implementation."
    "To remove theis warning, you can locally do `with sc.settings.override(preset=sc.Preset.ScanpyV2Preview)`."
)


def _var_mask(adata: AnnData, mask_var: object) -> NDArray[np.bool_] | None:
    return _scanpy.check_mask(adata, _scanpy.preset(mask_var, "rank_genes_groups", "mask_var"), "var")


def _in_log_space(mean_in_log_space: bool) -> bool:  # noqa: FBT001
    """Return whether means are those of logarithms, as they always are before scanpy 1.13, which passes over this."""
    return not SCANPY_1_13 or _scanpy.preset(mean_in_log_space, "rank_genes_groups", "mean_in_log_space")


def _is_default(method: object) -> bool:
    return method is None or _scanpy.is_unset(method)


def _uses_raw(adata: AnnData, use_raw: bool | None) -> bool:  # noqa: FBT001
    if use_raw is None:
        return adata.raw is not None
    if use_raw is True and adata.raw is None:
        msg = "Received `use_raw=True`, but `adata.raw` is empty."
        raise ValueError(msg)
    return use_raw


def _covered(method: Any) -> str:
    """Return the method's name; raise if it is run in memory alone."""
    if _is_default(method):
        method = _scanpy.preset(UNSET, "rank_genes_groups", "method", otherwise="t-test")
        method = "wilcoxon_illico" if _scanpy.is_second_preset() else method
    if method == "logreg":
        reason = "`method='logreg'` is scikit-learn's, which goes through all values many times"
        raise UnsupportedOutOfMemory(reason)
    return method


def _check_methods(method: str, corr_method: str) -> None:
    alias = _scanpy.rank_methods  # a plain alias of types, or one that came with Python 3.12
    methods = dict.fromkeys(get_args(getattr(alias, "__value__", alias))).keys()
    if method not in methods:
        msg = f"Method must be one of {methods}."
        raise ValueError(msg)
    if corr_method not in _CORRECTIONS:
        msg = f"Correction method must be one of {_CORRECTIONS}."
        raise ValueError(msg)


def _groups_order(adata: AnnData, groupby: str, groups: Iterable[object], reference: str) -> list[str] | str:
    """Return the groups to test, the reference among them, as scanpy's function puts them."""
    if isinstance(groups, str) and groups == "all":
        order: Any = "all"
    elif isinstance(groups, str | int):
        msg = "Specify a sequence of groups"
        raise ValueError(msg)
    else:
        order = list(groups)
        if isinstance(order[0], int):
            order = [str(n) for n in order]
        if reference != "rest" and reference not in set(order):
            order += [reference]
    categories = adata.obs[groupby].cat.categories
    if reference != "rest" and reference not in categories:
        msg = f"reference = {reference} needs to be one of groupby = {categories.tolist()}."
        raise ValueError(msg)
    return order


def _tables(test: GroupTests) -> dict[str, object]:
    tables: dict[str, object] = {}
    names = [str(name) for name in test.groups_order]
    for key, fractions in (("pts", test.pts), ("pts_rest", test.pts_rest)):
        if fractions is not None:
            tables[key] = pd.DataFrame(fractions.T, index=test.var_names, columns=names)
    stats = test.stats
    stats.columns = stats.columns.swaplevel()
    for column in stats.columns.levels[0]:
        tables[column] = stats[column].to_records(index=False, column_dtypes=_DTYPES[column])
    return tables
