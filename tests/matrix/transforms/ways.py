"""The ways in which a chain is run, which agree: compiled loops, NumPy's functions, and the arrays of a device."""

from __future__ import annotations

import pickle
from dataclasses import fields, is_dataclass, replace

import numpy as np
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy import sparse

from scanpy_oom.engine.device.device import NumpyDevice
from scanpy_oom.engine.device.program import ArrayReader
from scanpy_oom.engine.partition import Rows
from scanpy_oom.storage.sources.base import CSRBlock

from ...matrices import dense, oom

__all__ = ["DTYPES", "all_stored", "assert_ways_agree", "held", "is_data", "vectors"]

DTYPES = [np.dtype(np.float32), np.dtype(np.float64)]

VALUES = st.sampled_from([0.0, 1.0, 2.0, 0.1, -3.5, 33.0, 1e300, np.inf, -np.inf, np.nan])


def vectors(n: int, dtype: str = "f8") -> st.SearchStrategy[np.ndarray]:
    """Parameters by row or column, infinities and no numbers among them."""
    return hnp.arrays("f8", n, elements=VALUES).map(lambda v: _cast(v, dtype))


def _cast(values: np.ndarray, dtype: str) -> np.ndarray:
    with np.errstate(over="ignore"):
        return values.astype(dtype)


@st.composite
def all_stored(draw, dtypes=("f4", "f8", "i4")) -> sparse.csr_matrix:
    """A matrix that stores every value, zeros too, most of them counts."""
    dtype, shape = draw(st.sampled_from(dtypes)), (draw(st.integers(1, 40)), draw(st.integers(1, 6)))
    numbers = st.integers(0, 40).map(float)
    values = _cast(draw(hnp.arrays("f8", shape, elements=numbers if dtype == "i4" else numbers | VALUES)), dtype)
    indptr = np.arange(shape[0] + 1) * shape[1]
    return sparse.csr_matrix((values.ravel(), np.tile(np.arange(shape[1]), shape[0]), indptr), shape=shape)


def assert_ways_agree(x, *transforms, exact=True) -> np.ndarray:
    """Run transforms in all ways, of which the first is returned; `exact` tells whether to the last bit."""
    matrix = oom(x)
    for transform in transforms:
        matrix = matrix.transform(pickle.loads(pickle.dumps(transform)))
    with np.errstate(all="ignore"):
        found = dense(matrix)
        assert found.dtype == matrix.dtype
        for values in (_by_numpy(matrix, x), _on_device(matrix, x)):
            if exact:
                np.testing.assert_array_equal(values.astype(matrix.dtype), found)
            else:
                np.testing.assert_allclose(values.astype(matrix.dtype), found, rtol=1e-5, atol=1e-5)
    return found


def held(x) -> np.ndarray:
    """What a matrix stores, as an array of its dtype."""
    return x.data.reshape(x.shape)


def _by_numpy(matrix, x) -> np.ndarray:
    values, n = held(x).astype(np.float64), x.shape[0]
    for program in matrix.chain.programs:
        of_rows = program.for_rows(slice(0, n), np.arange(n))
        values = replace(of_rows, loops=False).run_dense(values)
    return values


def _on_device(matrix, x) -> np.ndarray:
    n = x.shape[0]
    reader, rows = ArrayReader(matrix, NumpyDevice(10**9)), Rows(0, slice(0, n), np.arange(n))
    stored = CSRBlock(x.indptr.astype(np.int64), x.indices.astype(np.int32), x.data)
    return reader.block(stored, reader.operands(rows), rows).toarray()


def is_data(value) -> bool:
    """Whether all that an object holds, and all that this holds, are numbers, names and arrays."""
    if is_dataclass(value):
        return all(is_data(getattr(value, field.name)) for field in fields(value))
    if isinstance(value, tuple):
        return all(map(is_data, value))
    return value is None or isinstance(value, str | bool | int | float | np.generic | np.ndarray | np.dtype)
