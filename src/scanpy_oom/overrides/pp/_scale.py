"""Scaling of genes: :func:`scanpy.pp.scale`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from anndata import AnnData
from scanpy import logging as logg

from ... import _scanpy
from ...engine.compute import compute
from ...engine.explain import plan
from ...errors import UnsupportedOutOfMemory
from ...matrix.transforms.scale import Scale
from ...queries.answers import ENGINE
from ...reductions import GroupMoments, Moments
from ._compat import get_obs_rep, put_back

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ...matrix import OOMMatrix

__all__ = ["scale"]

_MOMENTS = ("col_sum", "col_sumsq")


def scale(
    data: AnnData | OOMMatrix,
    *,
    zero_center: bool = True,
    max_value: float | None = None,
    copy: bool = False,
    layer: str | None = None,
    obsm: str | None = None,
    mask_obs: NDArray[np.bool_] | str | None = None,
    return_mean_std: bool = False,
) -> AnnData | OOMMatrix | tuple[OOMMatrix, NDArray[np.float64], NDArray[np.float64]] | None:
    """Scale data to unit variance and zero mean, lazily.

    What is stored stays sparse: zeros become one constant a column. One pass for the moments, none if they are
    known. See :func:`scanpy.pp.scale`.
    """
    zero_center = _centers(zero_center)
    if not isinstance(data, AnnData):
        return _scale_array(
            data, zero_center, max_value, layer, obsm, mask_obs, return_mean_std=return_mean_std, copy=copy
        )
    adata = data.copy() if copy else data
    names = ("mean", "std")
    mask: NDArray[np.bool_] | None = None
    if mask_obs is not None:
        what = f"of {mask_obs}" if isinstance(mask_obs, str) else "with mask"
        names = (f"mean {what}", f"std {what}")
        mask = _scanpy.check_mask(adata, mask_obs, "obs")
    _scanpy.view_to_actual(adata)
    x: OOMMatrix = get_obs_rep(adata, layer=layer, obsm=obsm)
    plan.reason("", if_none="means and variances of columns are known")
    plan.results(16 * x.shape[1])
    scaled, mean, std = _scale(x, zero_center=zero_center, max_value=max_value, mask=mask)
    adata.var[names[0]] = mean
    adata.var[names[1]] = std
    in_place = _works_in_place(x, zero_center=zero_center, masked=mask is not None)
    put_back(adata, x, scaled, in_place=in_place, layer=layer, obsm=obsm)
    return adata if copy else None


def _centers(zero_center: bool | None) -> bool:  # noqa: FBT001
    """Return whether to centre, which scanpy's second preset has no default for."""
    centers = _scanpy.preset(zero_center, "scale", "zero_center", otherwise=True)
    if centers is None and _scanpy.is_unset(zero_center):
        msg = "scale() missing 1 required keyword argument: 'zero_center'"
        raise TypeError(msg)
    return bool(centers)


def _check_dtype(x: OOMMatrix) -> None:
    if x.dtype == bool:
        reason = "booleans are no measurements, and scanpy treats sparse and dense ones differently"
        raise UnsupportedOutOfMemory(reason)


def _scale_array(
    x: OOMMatrix,
    zero_center: bool,  # noqa: FBT001
    max_value: float | None,
    layer: str | None,
    obsm: str | None,
    mask_obs: NDArray[np.bool_] | str | None,
    *,
    return_mean_std: bool,
    copy: bool,
) -> OOMMatrix | tuple[OOMMatrix, NDArray[np.float64], NDArray[np.float64]]:
    given = {"layer": layer, "obsm": obsm}
    if invalid := [name for name, value in given.items() if value is not None]:
        msg = f"Arguments {invalid} are only valid if an AnnData object is passed."
        raise TypeError(msg)
    mask = None if mask_obs is None else np.asarray(_scanpy.check_mask(x, mask_obs, "obs"))
    scaled, mean, std = _scale(x, zero_center=zero_center, max_value=max_value, mask=mask)
    if _works_in_place(x, zero_center=zero_center, masked=mask is not None):
        target = x.copy() if copy else x
        target.become(scaled)
        scaled = target
    return (scaled, mean, std) if return_mean_std else scaled


def _works_in_place(x: OOMMatrix, *, zero_center: bool, masked: bool) -> bool:
    """Return whether scanpy changes a matrix of this kind in place."""
    if x.dtype.kind != "f":
        return False
    if x.is_dense:
        return True
    return masked if zero_center else x.format_in_memory == "csr"


def _scale(
    x: OOMMatrix, *, zero_center: bool, max_value: float | None, mask: NDArray[np.bool_] | None
) -> tuple[OOMMatrix, NDArray[np.float64], NDArray[np.float64]]:
    _check_dtype(x)
    if not zero_center and max_value is not None:
        logg.info("... be careful when using `max_value` without `zero_center`.")
    if x.dtype.kind in "iu":
        logg.info("... as scaling leads to float results, integer input is cast to float, returning copy.")
    mean, var = _mean_var(x, mask, zero_center=zero_center)
    std = np.sqrt(var)
    std[std == 0] = 1
    # as in memory: a centred sparse matrix becomes a dense one, in double precision since the means are
    becomes_dense = zero_center and mask is None
    # and so does what a column-compressed one holds, which is divided by a product of matrices
    by_product = not zero_center and mask is None and x.format_in_memory == "csc"
    floating = x.dtype if x.dtype.kind == "f" and not by_product else np.dtype(np.float64)
    step = Scale(
        mean=mean if zero_center else None,
        std=std,
        max_value=max_value,
        mask=None if mask is None else np.array(mask, dtype=bool),
        dtype=np.dtype(np.float64) if becomes_dense and not x.is_dense else floating,
        dense=x.is_dense or becomes_dense,
        cuts_nan=not (x.is_dense or zero_center or by_product),
    )
    return x.transform(step), mean, std


def _mean_var(
    x: OOMMatrix, mask: NDArray[np.bool_] | None, *, zero_center: bool
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Means and unbiased variances of the columns, over the rows of `mask`."""
    if mask is None:
        known = ENGINE.statistics(x, *_MOMENTS).known
        counts = np.zeros((2, 1, x.shape[1]), dtype=np.int64)
        moments = Moments(np.array([x.shape[0]]), known["col_sum"][None], known["col_sumsq"][None], *counts)
    else:
        wanted = GroupMoments(np.where(mask, 0, -1), 1, counted=False, as_csr=not zero_center)
        moments = compute(x, wanted, assume=plan.of_no_rows)
    mean, var = moments.mean_var()
    return mean[0], var[0]
