"""Aggregation of cells or genes: :func:`scanpy.get.aggregate`."""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import scanpy as sc
from anndata import AnnData
from scipy import sparse

from ... import _scanpy
from ..._scanpy import SCANPY_1_12, SCANPY_1_13
from ...engine.compute import run
from ...engine.explain import plan
from ...engine.request import Request
from ...errors import UnsupportedOutOfMemory
from ...reductions import GroupMedians, GroupMoments, GroupWelford, MapRows
from ..pp._compat import get_obs_rep

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from numpy.typing import NDArray

    from ...engine.reduction import Reduction
    from ...matrix import OOMMatrix
    from ...reductions.moments import Moments

__all__ = ["aggregate"]


def aggregate(  # noqa: PLR0913
    adata: AnnData,
    by: str | Collection[str],
    func: str | Iterable[str],
    *,
    axis: object = None,
    mask: NDArray[np.bool_] | str | None = None,
    dof: int = 1,
    layer: str | None = None,
    obsm: str | None = None,
    varm: str | None = None,
    acc: object = None,
) -> AnnData:
    """Aggregate a matrix by groups of cells or genes, in one pass for all functions.

    See :func:`scanpy.get.aggregate`.
    """
    functions = [func] if isinstance(func, str) else list(func)
    task = _task(adata, by, functions, axis=axis, mask=mask, dof=dof, layer=layer, obsm=obsm, varm=varm, acc=acc)
    plan.results(8 * len(task.dtypes) * len(task.labels) * task.x.shape[0 if task.of_genes else 1])
    (found,) = run([Request(task.x, list(task.reductions.values()))])
    layers = task.layers(dict(zip(task.reductions, found, strict=True)))
    result = AnnData(layers=layers, obs=task.labels, var=adata.obs if task.of_genes else adata.var)
    return result.T if task.of_genes else result


def _task(adata: AnnData, by: object, functions: list[str], *, axis: object = None, **arguments: Any) -> _Task:
    kind = _OfGenes if _axis(by, axis, **arguments) == "var" else _OfCells
    return kind(adata, by, functions, axis=axis, **arguments)


def _axis(by: object, axis: object, *, obsm: str | None = None, varm: str | None = None, **_: object) -> str:
    """Return which of the annotations `by` refers to."""
    if SCANPY_1_13:
        return _scanpy.normalize_by(by, axis, obsm=obsm, varm=varm)[1]
    return _scanpy.resolve_axis(0 if axis is None else axis)[1]


def _groups(adata: AnnData, by: object, axis: str) -> pd.Categorical:
    """Return the group of each cell or gene."""
    if not SCANPY_1_13:
        return _scanpy.combine_categories(getattr(adata, axis), by)[0]
    references, _ = _scanpy.normalize_by(by, None if _has_accessors(by) else axis, obsm=None, varm=None)
    vectors = _scanpy.get_vectors(adata, references, dim=axis)
    names = [getattr(reference, "idx", reference) for reference in references]
    labels = pd.DataFrame({str(name): vector for name, vector in zip(names, vectors, strict=True)})
    return _scanpy.combine_categories(labels)[0]


def _has_accessors(by: object) -> bool:
    """Return whether groups are named by accessors of anndata, which texts are with scanpy's second preset."""
    first = by if isinstance(by, str) or not isinstance(by, Iterable) else next(iter(by))
    return not isinstance(first, str) or _scanpy.is_second_preset()


class _Task:
    """Statistics to compute, and how they become results.

    Labels, dtypes, warnings and errors are those that scanpy's own function gives for a single column of zeros.
    """

    of_genes: bool

    def __init__(  # noqa: PLR0913
        self,
        adata: AnnData,
        by: object,
        functions: list[str],
        *,
        axis: object,
        mask: object = None,
        dof: int = 1,
        layer: str | None = None,
        obsm: str | None = None,
        varm: str | None = None,
        acc: object = None,
    ) -> None:
        place = None if acc is None else _scanpy.place_of(acc)
        name = place.partition("/")[2] or None if place else layer
        self.x: OOMMatrix = get_obs_rep(adata, layer=name)
        if 0 in self.x.shape:
            reason = "of no cells, or no genes, what scanpy has of groups depends on the function"
            raise UnsupportedOutOfMemory(reason)
        shape = (1, adata.n_vars) if self.of_genes else (adata.n_obs, 1)
        zeros: np.ndarray | sparse.spmatrix = np.zeros(shape, dtype=self.x.dtype)
        if not self.x.is_dense:
            zeros = sparse.csr_matrix(zeros).asformat(self.x.format)
        names = {"var": adata.var} if self.of_genes else {"obs": adata.obs}
        where = {} if name is None else {"layers": {name: zeros}}
        stand_in = AnnData(zeros, **names, **where)
        how = {"acc": acc} if SCANPY_1_13 else {}
        with warnings.catch_warnings():
            # of zeros, which do not vary, and not of the values
            warnings.filterwarnings("ignore", "invalid value encountered in multiply", RuntimeWarning)
            probe = sc.get.aggregate(
                stand_in, by, functions, axis=axis, mask=mask, dof=dof, layer=layer, obsm=obsm, varm=varm, **how
            )
        self.functions, self.dof = set(functions), dof
        self.dtypes = {name: values.dtype for name, values in probe.layers.items() if name is not None}
        self.labels: pd.DataFrame = probe.var if self.of_genes else probe.obs
        dim = "var" if self.of_genes else "obs"
        self.categories = _groups(adata, by, dim)
        checked = _scanpy.check_mask(adata, mask, dim)
        self.mask: NDArray[np.bool_] | None = None if checked is None else np.asarray(checked)
        self.reductions = self._reductions()

    def _reductions(self) -> dict[str, Reduction]:
        raise NotImplementedError

    def layers(self, found: Mapping[str, Any]) -> dict[str, np.ndarray]:
        """Return the layers, in scanpy's order, from what the pass found."""
        raise NotImplementedError


class _OfCells(_Task):
    """Groups of cells."""

    of_genes = False

    def _reductions(self) -> dict[str, Reduction]:
        codes, n = self.categories.codes, len(self.categories.categories)
        kept = codes if self.mask is None else np.where(self.mask, codes, -1)
        weighted = self._weighs_masked
        wanted: dict[str, Reduction] = {}
        if "var" in self.functions and SCANPY_1_12:
            wanted["welford"] = GroupWelford(kept, n)
        if not (SCANPY_1_12 and self.functions <= {"mean", "var", "median"} and "var" in self.functions):
            every = np.where(kept < 0, codes + n, kept) if weighted else kept
            wanted["moments"] = GroupMoments(every, 2 * n if weighted else n)
        if self.functions == {"median"}:
            wanted = {}
        if "median" in self.functions:  # before 1.12 scanpy takes all cells, masked or not
            wanted["median"] = GroupMedians(kept if SCANPY_1_12 else codes, n)
        return wanted

    @property
    def _weighs_masked(self) -> bool:
        """True if scanpy adds cells that are masked with a weight of 0, of which infinity makes NaN: before 1.12."""
        return self.mask is not None and not SCANPY_1_12 and not self.x.is_dense

    def layers(self, found: Mapping[str, Any]) -> dict[str, np.ndarray]:
        moments = found.get("moments")
        if moments is not None and self._weighs_masked:
            moments = _weighted(moments, len(self.categories.categories))
        values: dict[str, np.ndarray] = {}
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

    def _by_squares(self, moments: Moments) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Aggregate as scanpy 1.11: masked cells count, and variances that are rounding errors become zero."""
        n = np.bincount(self.categories.codes)[:, None]
        mean = moments.total / n
        var = moments.total_squared / n - mean**2
        var[(2 << (42 if self.x.dtype == np.float64 else 20)) * var < mean**2] = 0
        if self.dof != 0:
            factor = n / (n - self.dof)
            with np.errstate(invalid="warn" if "var" in self.functions else "ignore"):
                var = var * factor
        return mean, var


def _weighted(moments: Moments, n: int) -> Moments:
    """Return moments of the first `n` groups, with those of the others added with a weight of 0."""
    with np.errstate(invalid="ignore"):
        total, squared = (of[:n] + 0 * of[n:] for of in (moments.total, moments.total_squared))
    return replace(moments, n=moments.n[:n], total=total, total_squared=squared, nnz=moments.nnz[:n])


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

    def _of_rows(self, names: list[str], rows: sparse.csr_matrix | np.ndarray) -> np.ndarray:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)  # which scanpy gave at the start
            layers = _scanpy.aggregate_array(rows.T, self.categories, self.functions, mask=self.mask, dof=self.dof)
        return np.stack([layers[name] for name in names]).transpose(2, 0, 1)

    def layers(self, found: Mapping[str, Any]) -> dict[str, np.ndarray]:
        return {
            name: np.ascontiguousarray(found["all"][:, k].T).astype(dtype, copy=False)
            for k, (name, dtype) in enumerate(self.dtypes.items())
        }
