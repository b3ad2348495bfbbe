"""The solver that scanpy and scikit-learn would choose for a PCA, and their refusals."""

from __future__ import annotations

from typing import TYPE_CHECKING

from scanpy import logging as logg

from ... import _scanpy
from ...errors import UnsupportedOutOfMemory

if TYPE_CHECKING:
    from ...matrix import OOMMatrix

__all__ = ["check_n_components", "check_solver", "estimator_solver", "n_iterations", "negotiated_solver"]


def n_iterations(x: OOMMatrix, k: int, *, zero_center: bool) -> int:
    """Return the iterations that scikit-learn's randomized solver takes."""
    return (7 if k < 0.1 * min(x.shape) else 4) if zero_center else 5


def check_solver(x: OOMMatrix, svd_solver: str | None) -> None:
    """Decline what works in memory alone."""
    if svd_solver == "lobpcg" and not x.is_dense:
        reason = "the legacy solver 'lobpcg' works on a matrix in memory alone; 'arpack' gives the exact result"
        raise UnsupportedOutOfMemory(reason)


def negotiated_solver(x: OOMMatrix, k: int, svd_solver: str | None, *, zero_center: bool) -> str:
    """Return which algorithm scanpy and scikit-learn would choose: `'randomized'`, or any of those that are exact."""
    solver = estimator_solver(x, svd_solver, zero_center=zero_center)
    if solver != "auto":
        return solver
    # as sklearn.decomposition.PCA negotiates
    n_rows, n_columns = x.shape
    tall = n_columns <= 1000 and n_rows >= 10 * n_columns
    return "randomized" if not tall and max(x.shape) > 500 and 1 <= k < 0.8 * min(x.shape) else "full"


def estimator_solver(x: OOMMatrix, svd_solver: str | None, *, zero_center: bool) -> str:
    """Return the solver that scanpy hands to scikit-learn's estimator."""
    if zero_center and svd_solver in {None, "arpack"}:
        return "arpack"  # whatever the matrix is: to import scikit-learn's estimators takes a quarter of a second
    from sklearn.decomposition import PCA, TruncatedSVD

    if zero_center:
        return _scanpy.handle_sklearn_args(svd_solver, PCA, sparse=not x.is_dense)
    logg.debug(
        "    without zero-centering: \n"
        "    the explained variance does not correspond to the exact statistical definition\n"
        "    the first component, e.g., might be heavily influenced by different means\n"
        "    the following components often resemble the exact PCA very closely"
    )
    return _scanpy.handle_sklearn_args(svd_solver, TruncatedSVD)


def check_n_components(x: OOMMatrix, k: int, solver: str) -> None:
    """Refuse as many components as scikit-learn refuses."""
    smallest = min(x.shape)
    bound = "between 1 and"
    if solver == "arpack" and k == smallest:
        bound = "strictly less than"
    elif 1 <= k <= smallest:
        return
    msg = f"n_components={k!r} must be {bound} min(n_samples, n_features)={smallest} with svd_solver={solver!r}"
    raise ValueError(msg)
