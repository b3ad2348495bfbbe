"""Principal component analysis: :func:`scanpy.pp.pca`."""

from __future__ import annotations

import inspect
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import scanpy as sc
from anndata import AnnData
from scanpy import logging as logg
from sklearn.utils import check_random_state

from ... import _scanpy
from ..._scanpy import SCANPY_1_13, UNSET
from ...engine.budget import LIBRARIES, fits, room
from ...engine.compute import compute
from ...engine.explain import plan
from ...memory.ledger import ACCOUNTANT
from ...queries.answers import ENGINE
from ...queries.linalg.eigen import (
    Decomposition,
    ExplicitGram,
    GramOperator,
    PlannedGram,
    StreamedGram,
    leading_eigenpairs,
    randomized_decomposition,
)
from ...reductions import ClassSums, Gram, RightProduct
from ._compat import get_obs_rep
from ._pca_arguments import column_mask, result_keys
from ._pca_solvers import check_n_components, check_solver, estimator_solver, n_iterations, negotiated_solver
from ._small import held_in_memory

if TYPE_CHECKING:
    from numpy.typing import DTypeLike, NDArray

    from ..._scanpy import RNG, Seed
    from ...matrix import OOMMatrix

__all__ = ["How", "fit_components", "pca"]

MOST_COLUMNS = 5000
"""Columns up to which the Gram matrix is held."""


BASIS = 2**26
"""Bytes of the vectors that are held where the Gram matrix is not."""

SMALL = 50_000_000
"""Bytes of a matrix that goes to scikit-learn as it is: coordinates are then scanpy's to the last bit, and so is what
follows from them (in single precision, scikit-learn's own result moves by some 1e-5 with the seed of its solver)."""


class _Fit:
    """Results, as scikit-learn's estimators have them.

    Attributes
    ----------
    x_pca
        `(n_obs, n_comps)` coordinates.
    components
        `(n_comps, n_vars)` loadings.
    variance, variance_ratio
        `(n_comps,)` each.
    """

    x_pca: np.ndarray
    components: np.ndarray
    variance: np.ndarray
    variance_ratio: np.ndarray


def pca(  # noqa: PLR0913
    data: AnnData | OOMMatrix,
    n_comps: int | None = None,
    *,
    layer: str | None = None,
    obsm: str | None = None,
    zero_center: bool = True,
    svd_solver: str | None = None,
    chunked: bool = False,
    chunk_size: int | None = None,
    random_state: Seed = 0,
    return_info: bool = False,
    mask_var: NDArray[np.bool_] | str | None = UNSET,
    use_highly_variable: bool | None = None,
    dtype: DTypeLike = "float32",
    key_added: str | None = UNSET,
    copy: bool = False,
    rng: RNG = UNSET,
) -> AnnData | np.ndarray | tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray] | None:
    """Principal component analysis: one pass for the Gram matrix, one to project.

    Exact, whichever exact solver is asked for: eigenvectors of the Gram matrix, which for more than some thousands
    of columns is applied by streaming passes. Matrices of less than 50 MB go to scikit-learn instead, in one pass. The
    solver `'randomized'` gives what scikit-learn's gives for the same `random_state`; `chunked=True` streams chunks to
    scikit-learn's incremental PCA. See :func:`scanpy.pp.pca`.

    Notes
    -----
    Of more than 5,000 columns, all genes say, the Gram matrix is not held. Then there is one pass for the moments, one
    for each product with a block of `n_comps / 5` vectors until the components have converged (the slower their
    variances fall, the more: some 70 for 50 components), and one to project. Each pass reads the compact copy that the
    first has left, and multiplies each stored value with each vector, twice. Beside blocks and partial results, memory
    is taken for a basis of at least `4 * n_comps + 30` vectors, twice: some 130 MB at 30,000 columns and 50 components.
    """
    if chunked:
        return _chunked(**{name: value for name, value in locals().items() if name != "chunked"})
    start = logg.info("computing PCA")
    if svd_solver in {"auto", "randomized"}:
        logg.info(
            "Note that scikit-learn's randomized PCA might not be exactly reproducible across different "
            "computational platforms. For exact reproducibility, choose `svd_solver='arpack'`."
        )
    returns_anndata = isinstance(data, AnnData)
    adata = (data.copy() if copy else data) if returns_anndata else AnnData(data)
    mask_param, mask, selected, n_comps = _inputs(adata, n_comps, mask_var, use_highly_variable, obsm)
    logg.info(f"    with n_comps={n_comps}")
    x: OOMMatrix = get_obs_rep(selected, layer=layer, obsm=obsm)
    check_solver(x, svd_solver)
    if rng is not UNSET:  # whose next number is taken where scanpy takes it
        random_state = _scanpy.random_state(rng)
    random = check_random_state(random_state)
    plan.results(x.shape[0] * n_comps * np.dtype(dtype).itemsize + adata.n_vars * n_comps * 8)
    how = How(random, svd_solver, zero_center=zero_center, dtype=np.dtype(dtype), masked=mask is not None)
    fit = fit_components(x, n_comps, how)
    x_pca = fit.x_pca.astype(dtype, copy=False)
    if not returns_anndata:
        logg.info("    finished", time=start)
        return (x_pca, fit.components, fit.variance_ratio, fit.variance) if return_info else x_pca

    keys = result_keys(key_added)
    flag = {} if SCANPY_1_13 else {"use_highly_variable": mask_param == "highly_variable"}
    params = {"zero_center": zero_center, **flag, "mask_var": mask_param} | {
        name: value for name, value in (("layer", layer), ("obsm", obsm)) if value is not None
    }
    _store(adata, keys, x_pca, fit, mask, params)
    logg.info("    finished", time=start)
    _log_added(keys)
    return adata if copy else None


def _log_added(keys: tuple[str, str, str]) -> None:
    logg.debug(
        "and added\n"
        f"    {keys[0]!r}, the PCA coordinates (adata.obs)\n"
        f"    {keys[1]!r}, the loadings (adata.varm)\n"
        f"    'pca_variance', the variance / eigenvalues (adata.uns[{keys[2]!r}])\n"
        f"    'pca_variance_ratio', the variance ratio (adata.uns[{keys[2]!r}])"
    )


class _Inputs(NamedTuple):
    """The mask as it was given, its values, what it leaves, and the number of components."""

    mask_param: object
    mask: NDArray[np.bool_] | None
    selected: AnnData
    n_comps: int


def _inputs(
    adata: AnnData, n_comps: int | None, mask_var: object, use_highly_variable: Any, obsm: str | None
) -> _Inputs:
    mask_param, mask = column_mask(adata, mask_var, use_highly_variable, obsm)
    selected = adata if mask is None else adata[:, mask]
    if n_comps is None:
        smallest = min(selected.n_vars, selected.n_obs)
        n_comps = smallest - 1 if smallest <= sc.settings.N_PCS else sc.settings.N_PCS
    return _Inputs(mask_param, mask, selected, n_comps)


def _chunked(**arguments: Any) -> Any:
    """Have scanpy's own function go through the chunks: it reads runs of rows and nothing else."""
    if arguments.pop("obsm") is not None:
        msg = "Cannot use `layer`/`obsm` and `chunked` at the same time."
        raise NotImplementedError(msg)
    if SCANPY_1_13:  # which has no such arguments, and draws nothing here
        del arguments["use_highly_variable"], arguments["random_state"], arguments["rng"]
    else:
        del arguments["rng"]
    original = inspect.unwrap(sc.pp.pca)
    data, n_comps = arguments.pop("data"), arguments.pop("n_comps")
    if plan.is_made():
        _plan_chunks(data, n_comps, arguments)
    return original(data, n_comps, chunked=True, **arguments)


def _plan_chunks(adata: AnnData, n_comps: int | None, arguments: dict[str, Any]) -> None:
    """Tell a plan of the chunks that scanpy's function will read."""
    selected, k = _inputs(adata, n_comps, arguments["mask_var"], arguments.get("use_highly_variable"), None)[2:]
    if arguments["layer"] is not None:
        msg = "Cannot use `layer`/`obsm` and `chunked` at the same time."
        raise NotImplementedError(msg)
    plan.reason("scikit-learn's incremental PCA goes through the chunks twice")
    plan.results(adata.n_obs * k * np.dtype(arguments["dtype"]).itemsize + adata.n_vars * k * 8)
    size = 6000 if arguments["chunk_size"] is None else arguments["chunk_size"]  # anndata's own
    x: OOMMatrix = selected.X
    for first in 2 * list(range(0, x.shape[0], size)):
        chunk = x.select(np.arange(first, min(first + size, x.shape[0])))
        plan.or_assume(partial(ENGINE.collect, chunk, dense=x.is_dense, what="pca"), lambda: None)
    plan.end()


def _store(
    adata: AnnData,
    keys: tuple[str, str, str],
    x_pca: np.ndarray,
    fit: _Fit,
    mask: NDArray[np.bool_] | None,
    params: dict[str, object],
) -> None:
    uns = {"params": params, "variance": fit.variance, "variance_ratio": fit.variance_ratio}
    adata.obsm[keys[0]] = x_pca
    if "obsm" in params:
        uns["components"] = fit.components.T
    elif mask is None:
        adata.varm[keys[1]] = fit.components.T
    else:
        loadings = np.zeros((adata.n_vars, fit.components.shape[0]))
        loadings[mask] = fit.components.T
        adata.varm[keys[1]] = loadings
    adata.uns[keys[2]] = uns


class How(NamedTuple):
    """How to fit: coordinates may come in `dtype`, rounded once, so that those of double precision need not be held."""

    random: np.random.RandomState
    svd_solver: str | None
    zero_center: bool
    dtype: np.dtype
    masked: bool


def fit_components(x: OOMMatrix, k: int, how: How) -> _Fit:
    check_solver(x, how.svd_solver)
    if x.nbytes_in_memory <= SMALL:
        plan.reason("so small a matrix goes to scikit-learn as it is")
        return _fit_small(x, k, how)
    solver = negotiated_solver(x, k, how.svd_solver, zero_center=how.zero_center)
    check_n_components(x, k, solver)
    basis = None if solver == "randomized" else _lanczos_nbytes(x, k)
    gram, total = _gram(x, basis, zero_center=how.zero_center)
    single = x.dtype == np.float32

    def decomposition() -> Decomposition:
        if solver == "randomized":
            n_iter = n_iterations(x, k, zero_center=how.zero_center)
            return randomized_decomposition(gram, k, how.random, n_iter=n_iter, single=single)
        with ACCOUNTANT.reserve(workspace=_lanczos_nbytes(x, k) if isinstance(gram, StreamedGram) else 0):
            return leading_eigenpairs(gram, k, how.random, _most_vectors(x, k))

    nothing = np.zeros((x.shape[1], k))
    found = plan.or_assume(decomposition, lambda: Decomposition(nothing.T, np.zeros(k), nothing))
    fit_dtype = np.dtype(np.float32 if single else np.float64)
    out_dtype = how.dtype if how.zero_center and not single else fit_dtype
    return _finish(x, gram, found, total, zero_center=how.zero_center, dtype=fit_dtype, out_dtype=out_dtype)


def _most_vectors(x: OOMMatrix, k: int) -> int:
    """Vectors that are held where the Gram matrix is not."""
    return max(BASIS // (8 * x.shape[1]), 4 * k + 30)


def _lanczos_nbytes(x: OOMMatrix, k: int) -> int:
    """Bytes of these vectors, and of what is computed of them."""
    return 2 * 8 * x.shape[1] * _most_vectors(x, k)


def _fit_small(x: OOMMatrix, k: int, how: How) -> _Fit:
    """Fit scikit-learn's own estimator, as scanpy does."""
    from sklearn.decomposition import PCA, TruncatedSVD

    name = estimator_solver(x, how.svd_solver, zero_center=how.zero_center)
    if how.zero_center:
        estimator = PCA(n_components=k, svd_solver=name, random_state=how.random)
    else:
        estimator = TruncatedSVD(n_components=k, algorithm=name, random_state=how.random)
    values = held_in_memory(x, "pca")
    if x.is_dense and how.masked:
        values = np.asfortranarray(values)  # as NumPy takes columns: the last bits of products depend on it
    fit = _Fit()
    fit.x_pca = estimator.fit_transform(values)
    fit.components = estimator.components_
    fit.variance, fit.variance_ratio = estimator.explained_variance_, estimator.explained_variance_ratio_
    return fit


def _holds_gram(x: OOMMatrix) -> bool:
    """Return whether the Gram matrix is held: if there are not too many columns, and it fits the memory limit."""
    n_columns = x.shape[1]
    nbytes = 12 * n_columns**2 + LIBRARIES
    if n_columns > MOST_COLUMNS or nbytes > room(nbytes):
        return False
    gram, sums = Gram(), ClassSums()
    gram.prepare(x)
    sums.prepare(x)
    return fits(gram.partial_nbytes() + sums.partial_nbytes(), gram.workspace_nbytes())


def _gram(x: OOMMatrix, basis: int | None, *, zero_center: bool) -> tuple[GramOperator, float]:
    """Return the Gram operator and the sum of the columns' squared deviations from their means."""
    if _holds_gram(x):
        plan.reason("")
        return plan.or_assume(partial(_explicit_gram, x, zero_center=zero_center), lambda: (PlannedGram(x, None), 0.0))
    plan.reason("the Gram matrix of so many columns is not held: each product with it takes a pass")
    n_rows = x.shape[0]
    known = ENGINE.statistics(x, "col_sum", "col_sumsq").known
    mean = known["col_sum"] / n_rows
    deviations = float((known["col_sumsq"] - n_rows * mean**2).sum())
    _check_finite(deviations)
    return StreamedGram(x, mean if zero_center else None, basis), deviations


def _explicit_gram(x: OOMMatrix, *, zero_center: bool) -> tuple[GramOperator, float]:
    explicit = ExplicitGram(x, center=zero_center)
    _check_finite(explicit.uncentered_trace)
    of_means = x.shape[0] * float(explicit.column_mean @ explicit.column_mean)
    return explicit, explicit.uncentered_trace - of_means


def _check_finite(sum_of_squares: float) -> None:
    """Refuse what scikit-learn refuses."""
    if np.isfinite(sum_of_squares):
        return
    kind = "NaN" if np.isnan(sum_of_squares) else "infinity or a value too large for dtype('float64')"
    msg = f"Input X contains {kind}."
    raise ValueError(msg)


def _finish(
    x: OOMMatrix,
    gram: GramOperator,
    found: Decomposition,
    total: float,
    *,
    zero_center: bool,
    dtype: np.dtype,
    out_dtype: np.dtype,
) -> _Fit:
    """Project, and compute what scikit-learn reports, in its dtypes and with its signs."""
    n_rows = x.shape[0]
    # the largest loading of a component is positive, as scikit-learn's `svd_flip` has it
    largest = np.abs(found.components).argmax(axis=1)
    signs = np.sign(found.components[np.arange(largest.size), largest])
    components = found.components * signs[:, None]
    # scikit-learn's truncated SVD projects on the components; its PCA returns the left vectors
    projection = found.projection * signs if zero_center else components.T
    offset = None if gram.mean is None else gram.mean @ projection
    x_pca = compute(x, RightProduct(projection, offset, out_dtype))
    fit = _Fit()
    fit.x_pca = x_pca
    fit.components = components.astype(dtype)
    if zero_center:
        variance, total_variance = found.singular_values**2 / (n_rows - 1), total / (n_rows - 1)
    else:
        variance, total_variance = x_pca.var(axis=0, dtype=np.float64), total / n_rows
    fit.variance = variance.astype(dtype)
    fit.variance_ratio = (variance / total_variance).astype(dtype)
    return fit
