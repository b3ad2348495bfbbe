"""Scaling of genes: :func:`scanpy.pp.scale`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from anndata import AnnData
from scanpy import logging as logg
from scanpy._utils import view_to_actual
from scanpy.get import _check_mask

from ..errors import UnsupportedOutOfMemory
from ..matrix.transforms import Scale
from ..passes import ENGINE, GroupMoments, Moments, Request, outline, run
from ..passes.outline import Outline, Step
from ._compat import get_obs_rep, set_obs_rep
from ._matrices import warn_not_in_place

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ..matrix import OOMMatrix

__all__ = ["plan_scale", "scale"]

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
    if not isinstance(data, AnnData):
        if not copy and data.dtype.kind == "f" and (data.is_dense or not zero_center or mask_obs is not None):
            warn_not_in_place("sc.pp.scale")
        return _scale_array(data, zero_center, max_value, layer, obsm, mask_obs, return_mean_std=return_mean_std)
    adata = data.copy() if copy else data
    names = ("mean", "std")
    mask: NDArray[np.bool_] | None = None
    if mask_obs is not None:
        what = f"of {mask_obs}" if isinstance(mask_obs, str) else "with mask"
        names = (f"mean {what}", f"std {what}")
        mask = _check_mask(adata, mask_obs, "obs")
    view_to_actual(adata)
    x: OOMMatrix = get_obs_rep(adata, layer=layer, obsm=obsm)
    scaled, mean, std = _scale(x, zero_center=zero_center, max_value=max_value, mask=mask)
    adata.var[names[0]] = mean
    adata.var[names[1]] = std
    set_obs_rep(adata, scaled, layer=layer, obsm=obsm)
    return adata if copy else None


def plan_scale(
    data: AnnData,
    *,
    zero_center: bool = True,
    layer: str | None = None,
    obsm: str | None = None,
    mask_obs: NDArray[np.bool_] | str | None = None,
    **_: Any,
) -> Outline:
    """Plan :func:`scale`."""
    x: OOMMatrix = get_obs_rep(data, layer=layer, obsm=obsm)
    _check_dtype(x)
    results = 16 * x.shape[1]
    if mask_obs is not None:
        masked = _masked(x, _check_mask(data, mask_obs, "obs"), zero_center=zero_center)
        return Outline([Step(masked)], results=results)
    steps = outline.statistics(x, *_MOMENTS)
    return Outline(steps, "" if steps else "means and variances of columns are known", results)


def _check_dtype(x: OOMMatrix) -> None:
    if x.dtype == bool:
        reason = "booleans are no measurements, and what becomes of them depends on how they are held"
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
) -> OOMMatrix | tuple[OOMMatrix, NDArray[np.float64], NDArray[np.float64]]:
    given = {"layer": layer, "obsm": obsm}
    if invalid := [name for name, value in given.items() if value is not None]:
        msg = f"Arguments {invalid} are only valid if an AnnData object is passed."
        raise TypeError(msg)
    mask = None if mask_obs is None else np.asarray(_check_mask(x, mask_obs, "obs"))
    scaled, mean, std = _scale(x, zero_center=zero_center, max_value=max_value, mask=mask)
    return (scaled, mean, std) if return_mean_std else scaled


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
        mask=None if mask is None else np.asarray(mask, dtype=bool),
        dtype=np.dtype(np.float64) if becomes_dense and not x.is_dense else floating,
        dense=x.is_dense or becomes_dense,
    )
    return x.transform(step), mean, std


def _masked(x: OOMMatrix, mask: NDArray[np.bool_], *, zero_center: bool) -> list[Request]:
    moments = GroupMoments(np.where(mask, 0, -1), 1, counted=False, as_csr=not zero_center)
    return [Request(x, [moments])]


def _mean_var(
    x: OOMMatrix, mask: NDArray[np.bool_] | None, *, zero_center: bool
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Means and unbiased variances of the columns, over the rows of `mask`."""
    if mask is None:
        known = ENGINE.statistics(x, *_MOMENTS).known
        counts = np.zeros((2, 1, x.shape[1]), dtype=np.int64)
        moments = Moments(np.array([x.shape[0]]), known["col_sum"][None], known["col_sumsq"][None], *counts)
    else:
        moments = run(_masked(x, mask, zero_center=zero_center))[0][0]
    mean, var = moments.mean_var()
    return mean[0], var[0]
