"""Aggregation of cells or genes: :func:`scanpy.get.aggregate`."""

from __future__ import annotations

import importlib
import warnings
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import scanpy as sc
from anndata import AnnData
from scanpy._utils import _resolve_axis
from scipy import sparse

from ..passes import GroupMedians, GroupMoments, GroupWelford, MapRows, Reduction, Request, run
from ..passes.outline import Outline, Step
from ..pp._compat import SCANPY_1_12, get_obs_rep

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

    import pandas as pd
    from numpy.typing import NDArray

    from ..matrix import OOMMatrix

__all__ = ["aggregate", "plan_aggregate"]

_scanpys: Any = importlib.import_module("scanpy.get._aggregated")


def aggregate(  # noqa: PLR0913
    adata: AnnData,
    by: str | Collection[str],
    func: str | Iterable[str],
    *,
    axis: Any = None,
    mask: NDArray[np.bool_] | str | None = None,
    dof: int = 1,
    layer: str | None = None,
    obsm: str | None = None,
    varm: str | None = None,
) -> AnnData:
    """Aggregate a matrix by groups of cells or genes, in one pass for all functions.

    See :func:`scanpy.get.aggregate`.
    """
    functions = [func] if isinstance(func, str) else list(func)
    task = _task(adata, by, functions, axis=axis, mask=mask, dof=dof, layer=layer, obsm=obsm, varm=varm)
    (found,) = run([Request(task.x, list(task.reductions.values()))])
    layers = task.layers(dict(zip(task.reductions, found, strict=True)))
    result = AnnData(layers=layers, obs=task.labels, var=adata.obs if task.of_genes else adata.var)
    return result.T if task.of_genes else result


def plan_aggregate(adata: AnnData, by: Any, func: Any, **arguments: Any) -> Outline:
    """Plan :func:`aggregate`."""
    functions = [func] if isinstance(func, str) else list(func)
    task = _task(adata, by, functions, **arguments)
    others = task.x.shape[0] if task.of_genes else task.x.shape[1]
    step = Step([Request(task.x, list(task.reductions.values()))])
    return Outline([step], results=8 * len(task.dtypes) * len(task.labels) * others)


def _task(adata: AnnData, by: Any, functions: list[str], *, axis: Any = None, **arguments: Any) -> _Task:
    if _resolve_axis(0 if axis is None else axis)[0] == 1:
        return _OfGenes(adata, by, functions, axis=1, **arguments)
    return _OfCells(adata, by, functions, axis=0, **arguments)


class _Task:
    """What is to be found, and what becomes of it.

    Labels, dtypes, warnings and errors are those that scanpy's own function gives for a single column of zeros.
    """

    of_genes: bool

    def __init__(  # noqa: PLR0913
        self,
        adata: AnnData,
        by: Any,
        functions: list[str],
        *,
        axis: int,
        mask: Any = None,
        dof: int = 1,
        layer: str | None = None,
        obsm: str | None = None,
        varm: str | None = None,
    ) -> None:
        self.x: OOMMatrix = get_obs_rep(adata, layer=layer)
        shape = (1, adata.n_vars) if self.of_genes else (adata.n_obs, 1)
        zeros: Any = np.zeros(shape, dtype=self.x.dtype)
        if not self.x.is_dense:
            zeros = sparse.csr_matrix(zeros).asformat(self.x.format)
        names = {"var": adata.var} if self.of_genes else {"obs": adata.obs}
        where = {} if layer is None else {"layers": {layer: zeros}}
        stand_in = AnnData(zeros, **names, **where)
        probe = sc.get.aggregate(
            stand_in, by, functions, axis=axis, mask=mask, dof=dof, layer=layer, obsm=obsm, varm=varm
        )
        self.functions, self.dof = set(functions), dof
        self.dtypes = {name: values.dtype for name, values in probe.layers.items() if name is not None}
        self.labels: pd.DataFrame = probe.var if self.of_genes else probe.obs
        annotations = adata.var if self.of_genes else adata.obs
        self.categories, _ = _scanpys._combine_categories(annotations, by)
        self.mask: NDArray[np.bool_] | None = annotations[mask].to_numpy() if isinstance(mask, str) else mask
        self.reductions = self._reductions()

    def _reductions(self) -> dict[str, Reduction]:
        raise NotImplementedError

    def layers(self, found: Mapping[str, Any]) -> dict[str, NDArray]:
        """Return the layers, in scanpy's order, from what the pass found."""
        raise NotImplementedError


class _OfCells(_Task):
    """Groups of cells."""

    of_genes = False

    def _reductions(self) -> dict[str, Reduction]:
        codes, n = self.categories.codes, len(self.categories.categories)
        kept = codes if self.mask is None else np.where(self.mask, codes, -1)
        wanted: dict[str, Reduction] = {}
        if "var" in self.functions and SCANPY_1_12:
            wanted["welford"] = GroupWelford(kept, n)
        if not (SCANPY_1_12 and self.functions <= {"mean", "var", "median"} and "var" in self.functions):
            wanted["moments"] = GroupMoments(kept, n)
        if self.functions == {"median"}:
            wanted = {}
        if "median" in self.functions:  # before 1.12 scanpy takes all cells, masked or not
            wanted["median"] = GroupMedians(kept if SCANPY_1_12 else codes, n)
        return wanted

    def layers(self, found: Mapping[str, Any]) -> dict[str, NDArray]:
        moments = found.get("moments")
        values: dict[str, NDArray] = {}
        if moments is not None:
            values |= {"sum": moments.total, "count_nonzero": moments.nnz}
        if "median" in found:
            values["median"] = found["median"]
        with np.errstate(invalid="ignore", divide="ignore"):
            if "welford" in found:
                n = found["welford"].n
                values["mean"] = found["welford"].mean
                values["var"] = found["welford"].var
                if self.dof != 0:
                    values["var"] *= (n / np.where(n > self.dof, n - self.dof, np.nan))[:, None]
            elif moments is not None and SCANPY_1_12:
                values["mean"] = moments.total / moments.n[:, None]
            elif moments is not None:
                values["mean"], values["var"] = self._by_squares(moments)
        return {name: values[name].astype(dtype, copy=False) for name, dtype in self.dtypes.items()}

    def _by_squares(self, moments: Any) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """As scanpy 1.11: cells count that are masked, and variances that are no more than rounding are none."""
        n = np.bincount(self.categories.codes)[:, None]
        mean = moments.total / n
        var = moments.total_squared / n - mean**2
        var[(2 << (42 if self.x.dtype == np.float64 else 20)) * var < mean**2] = 0
        return mean, var * (n / (n - self.dof)) if self.dof != 0 else var


class _OfGenes(_Task):
    """Groups of genes: scanpy's own function, on some cells after the other."""

    of_genes = True

    def _reductions(self) -> dict[str, Reduction]:
        n = len(self.categories.categories)
        if not self.dtypes:
            return {}
        return {
            "all": MapRows(
                partial(self._of_rows, list(self.dtypes)), (len(self.dtypes), n), np.result_type(*self.dtypes.values())
            )
        }

    def _of_rows(self, names: list[str], rows: Any) -> NDArray:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)  # which scanpy gave at the start
            layers = _scanpys._aggregate(rows.T, self.categories, self.functions, mask=self.mask, dof=self.dof)
        return np.stack([layers[name] for name in names]).transpose(2, 0, 1)

    def layers(self, found: Mapping[str, Any]) -> dict[str, NDArray]:
        return {
            name: np.ascontiguousarray(found["all"][:, k].T).astype(dtype, copy=False)
            for k, (name, dtype) in enumerate(self.dtypes.items())
        }
