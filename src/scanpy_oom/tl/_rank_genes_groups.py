"""Ranking genes by group: :func:`scanpy.tl.rank_genes_groups`, t-tests."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from anndata import AnnData
from scanpy import _utils
from scanpy import logging as logg
from scanpy._utils import get_literal_vals
from scanpy.get import _check_mask
from scanpy.tools._rank_genes_groups import _Method

from ..errors import UnsupportedOutOfMemory
from ..passes.outline import Outline, Step
from ._group_tests import GroupTests

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray


__all__ = ["plan_rank_genes_groups", "rank_genes_groups"]

_CORRECTIONS = {"benjamini-hochberg", "bonferroni"}
_DTYPES = {"names": "O", "scores": "float32", "logfoldchanges": "float32", "pvals": "float64", "pvals_adj": "float64"}


def rank_genes_groups(  # noqa: PLR0913
    adata: AnnData,
    groupby: str,
    *,
    mask_var: NDArray[np.bool_] | str | None = None,
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
    **kwds: Any,
) -> AnnData | None:
    """Rank genes for characterizing groups: one pass for all groups.

    See :func:`scanpy.tl.rank_genes_groups`.
    """
    var_mask: NDArray[np.bool_] | None = _check_mask(adata, mask_var, "var")
    use_raw = _uses_raw(adata, use_raw)
    method = _covered(method)
    if "only_positive" in kwds:
        rankby_abs = not kwds.pop("only_positive")  # an older name, which scanpy still takes
    start = logg.info("ranking genes")
    _check_methods(method, corr_method)
    adata = adata.copy() if copy else adata
    _utils.sanitize_anndata(adata)
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
    )
    test.gather()
    if test.is_count_data:
        logg.warning(
            "It seems you use rank_genes_groups on the raw count data. "
            "Please logarithmize your data before calling rank_genes_groups."
        )
    n_genes = test.X.shape[1] if n_genes is None else min(n_genes, test.X.shape[1])
    logg.debug(f"consider {groupby!r} groups:")
    logg.debug(f"with sizes: {np.count_nonzero(test.groups_masks_obs, axis=1)}")
    test.compute_statistics(
        method, corr_method=corr_method, n_genes_user=n_genes, rankby_abs=rankby_abs, tie_correct=tie_correct, **kwds
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


def _log_added(key_added: str, start: Any) -> None:
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


def plan_rank_genes_groups(  # noqa: PLR0913
    adata: AnnData,
    groupby: str,
    *,
    mask_var: NDArray[np.bool_] | str | None = None,
    use_raw: bool | None = None,
    groups: str | Iterable[str] = "all",
    reference: str = "rest",
    n_genes: int | None = None,
    pts: bool = False,
    method: str | None = None,
    corr_method: str = "benjamini-hochberg",
    layer: str | None = None,
    **_: Any,
) -> Outline:
    """Plan :func:`rank_genes_groups`."""
    var_mask: NDArray[np.bool_] | None = _check_mask(adata, mask_var, "var")
    use_raw = _uses_raw(adata, use_raw)
    _check_methods(_covered(method), corr_method)
    # labels become categories, which is to be seen here alone
    labels = AnnData(obs=adata.obs[[groupby]].copy())
    _utils.sanitize_anndata(labels)
    names = ("uns", "X", "raw", "layers", "var_names")
    seen: Any = SimpleNamespace(obs=labels.obs, **{name: getattr(adata, name) for name in names})
    order = _groups_order(seen, groupby, groups, reference)
    where: dict[str, Any] = {"reference": reference, "use_raw": use_raw, "layer": layer, "method": _covered(method)}
    test = GroupTests(seen, order, groupby, mask_var=var_mask, **where)
    n_columns = test.X.shape[1]
    n_genes = n_columns if n_genes is None else min(n_genes, n_columns)
    # a name, two numbers of four bytes and two of eight for each gene; fractions of cells, of group and rest
    results = test.n_groups * (n_genes * (8 + 2 * 4 + 2 * 8) + (2 * 8 * n_columns if pts else 0))
    return Outline([Step(test.requests())], results=results)


def _uses_raw(adata: AnnData, use_raw: bool | None) -> bool:  # noqa: FBT001
    if use_raw is None:
        return adata.raw is not None
    if use_raw is True and adata.raw is None:
        msg = "Received `use_raw=True`, but `adata.raw` is empty."
        raise ValueError(msg)
    return use_raw


def _covered(method: str | None) -> str:
    """Return the method's name; raise if it is run in memory alone."""
    method = "t-test" if method is None else method
    if method == "logreg":
        reason = "`method='logreg'` is scikit-learn's, which goes through all values many times"
        raise UnsupportedOutOfMemory(reason)
    return method


def _check_methods(method: str, corr_method: str) -> None:
    if method not in (methods := get_literal_vals(_Method)):
        msg = f"Method must be one of {methods}."
        raise ValueError(msg)
    if corr_method not in _CORRECTIONS:
        msg = f"Correction method must be one of {_CORRECTIONS}."
        raise ValueError(msg)


def _groups_order(adata: AnnData, groupby: str, groups: Any, reference: str) -> Any:
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


def _tables(test: GroupTests) -> dict[str, Any]:
    tables: dict[str, Any] = {}
    names = [str(name) for name in test.groups_order]
    for key, fractions in (("pts", test.pts), ("pts_rest", test.pts_rest)):
        if fractions is not None:
            tables[key] = pd.DataFrame(fractions.T, index=test.var_names, columns=names)
    stats = test.stats
    stats.columns = stats.columns.swaplevel()
    for column in stats.columns.levels[0]:
        tables[column] = stats[column].to_records(index=False, column_dtypes=_DTYPES[column])
    return tables
