from __future__ import annotations

import os
import signal
import threading

import numpy as np
import pytest

from scanpy_oom.queries.linalg.lapack import leading_eigh


@pytest.mark.parametrize(("n", "k"), [(1, 1), (7, 3), (60, 60), (300, 20)])
def test_leading_pairs_are_those_of_numpy(n, k):
    x = np.random.default_rng(0).standard_normal((2 * n, n))
    gram = x.T @ x
    values, vectors = leading_eigh(gram.copy(), k)
    want = np.linalg.eigvalsh(gram)[-k:]
    np.testing.assert_allclose(values, want, rtol=1e-11)
    np.testing.assert_allclose(gram @ vectors, vectors * values, atol=1e-10 * want[-1])
    np.testing.assert_allclose(vectors.T @ vectors, np.eye(k), atol=1e-11)


def test_an_interrupt_is_heard_while_lapack_works():
    x = np.random.default_rng(0).standard_normal((2500, 2500))
    handler = signal.signal(signal.SIGINT, signal.default_int_handler)
    waiting = threading.Timer(0.5, os.kill, (os.getpid(), signal.SIGINT))
    before = {thread.ident for thread in threading.enumerate()}
    try:
        waiting.start()
        with pytest.raises(KeyboardInterrupt):
            leading_eigh(x + x.T, 2500)
    finally:
        signal.signal(signal.SIGINT, handler)
    # it is still at work: the interrupt did not wait for it
    assert any(thread.ident not in before and thread is not waiting for thread in threading.enumerate())
    for thread in threading.enumerate():
        if thread.ident not in before:
            thread.join()
