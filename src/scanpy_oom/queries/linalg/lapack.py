"""Eigenvectors of a large symmetric matrix, by LAPACK, in a way that Ctrl-C can leave."""

from __future__ import annotations

import ctypes
import threading
from functools import cache
from typing import TYPE_CHECKING

import numpy as np
from numba.extending import get_cython_function_address

from ...engine.runtime.blas import one_blas_thread

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

__all__ = ["leading_eigh"]


@cache
def _dsyevr() -> Callable[..., None]:
    # through ctypes, which releases the GIL; SciPy's own wrapper keeps it
    address = get_cython_function_address("scipy.linalg.cython_lapack", "dsyevr")
    return ctypes.CFUNCTYPE(None, *[ctypes.c_void_p] * 21)(address)


def leading_eigh(matrix: NDArray[np.float64], k: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Compute the `k` largest eigenvalues of a symmetric matrix, ascending, and their vectors.

    Parameters
    ----------
    matrix
        `(n, n)`, C-contiguous, which is overwritten.
    k
        Number of pairs.

    Returns
    -------
    Values `(k,)` and vectors `(n, k)`.

    Raises
    ------
    numpy.linalg.LinAlgError
        If LAPACK's `dsyevr` does not find them.

    Notes
    -----
    It runs in a thread of its own, since nothing stops LAPACK: an interrupt leaves it to end by itself. BLAS is held to
    one thread: with more, the result depends on their number, and every one of thousands of small products waits for
    all of them, forty times as long in all where another process has the other core.
    """
    n = matrix.shape[0]
    values, vectors = np.empty(n), np.empty((n, k), order="F")
    support, status = np.empty(2 * n, dtype=np.intc), np.zeros(1, dtype=np.intc)
    found = np.zeros(1, dtype=np.intc)

    def call(work: NDArray[np.float64], n_work: int, integers: np.ndarray, n_integers: int) -> None:
        order, first, last = (np.array([i], dtype=np.intc) for i in (n, n - k + 1, n))
        zero, sizes = np.zeros(1), np.array([n_work, n_integers], dtype=np.intc)
        texts = [np.array([letter], dtype="S1") for letter in (b"V", b"I", b"L")]
        arguments = [*texts, order, matrix, order, zero, zero, first, last, zero, found, values, vectors, order]
        arguments += [support, work, sizes[:1], integers, sizes[1:], status]
        _dsyevr()(*[argument.ctypes.data for argument in arguments])

    best, best_integers = np.empty(1), np.empty(1, dtype=np.intc)
    call(best, -1, best_integers, -1)
    work, integers = np.empty(int(best[0])), np.empty(int(best_integers[0]), dtype=np.intc)
    thread = threading.Thread(target=call, args=(work, work.size, integers, integers.size), daemon=True)
    with one_blas_thread():
        thread.start()
        while thread.is_alive():
            thread.join(0.1)
    if status[0] != 0:
        msg = f"LAPACK's dsyevr found no eigenvectors (info = {status[0]})."
        raise np.linalg.LinAlgError(msg)
    return values[:k], vectors
