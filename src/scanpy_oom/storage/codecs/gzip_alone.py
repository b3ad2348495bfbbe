"""gzip undone where its values are wanted: chunk after chunk inflated, verified and widened in one call.

What Python does between two chunks is done by one thread at a time, and each chunk asks for memory anew: with chunks of
a fifth of a millisecond, two fifths of the time. So the loop over chunks is compiled. It calls libdeflate, which the
package deflate carries, by its address; a chunk is inflated into memory that stays in the processor's cache, and its
values go from there to where they are wanted.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from ...jit import njit
from ...memory.buffer_pool import BUFFERS
from .libdeflate import Library, find_library

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ..abc import Values

__all__ = ["inflate_each"]


@intrinsic
def _call_address(typing_context: object, function: object, arguments: tuple[object, ...]) -> Any:
    """Call the C function at an address with integers and addresses, each of 64 bits, which returns another."""

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        word = ir.IntType(64)
        given = [builder.extract_value(values[1], i) for i in range(len(arguments))]
        pointer = ir.FunctionType(word, [word] * len(given)).as_pointer()
        return builder.call(builder.inttoptr(values[0], pointer), given)

    return types.int64(types.int64, types.UniTuple(types.int64, len(arguments))), generate


_call: Any = _call_address  # compiled code calls it without a context, which is not what its types say


@njit(nogil=True, cache=True)
def _inflate(library: Library, decompressor: int, stored: NDArray[np.uint8], out: NDArray[np.uint8]) -> bool:
    """Inflate one chunk; tell whether it gave as many bytes as `out` has, with the checksum that they should have."""
    arguments = (decompressor, stored.ctypes.data, stored.size, out.ctypes.data, out.size, 0)
    return np.int32(_call(library.inflate, arguments)) == np.int32(0)


@njit(nogil=True, cache=True)
def _inflate_each(
    library: Library,
    stored: NDArray[np.uint8],
    sizes: NDArray[np.int64],
    chunk: NDArray[np.uint8],
    values: Values,
    low: np.number,
    high: np.number,
    out: Values,
) -> int:
    """Do what :func:`inflate_each` does; `values` are the bytes of `chunk`, `low` and `high` of their type."""
    decompressor: int = _call(library.allocate, ())
    done, at = 0, 0
    while decompressor and done < sizes.size and _inflate(library, decompressor, stored[at : at + sizes[done]], chunk):
        place = out[done * values.size : (done + 1) * values.size]
        outside = False
        for i in range(np.uint64(place.size)):
            value = values[i]
            outside |= (value < low) | (value > high)
            place[i] = value
        if outside:
            break
        at += sizes[done]
        done += 1
    _call(library.free, (decompressor,))
    return done


def inflate_each(
    stored: NDArray[np.uint8], sizes: NDArray[np.int64], dtype: np.dtype, n: int, bounds: tuple[int, int], out: Values
) -> int:
    """Inflate chunks that lie side by side, up to one that is damaged or holds what it may not.

    Parameters
    ----------
    stored
        The chunks.
    sizes
        `(n_chunks,)` bytes of each.
    dtype
        What they hold: integers or floating-point numbers of 1 to 8 bytes in native order, but none of float16.
    n
        Values in a chunk.
    bounds
        Between which integers must lie, both allowed.
    out
        Written: the values, in its own type. It may end within the last chunk.

    Returns
    -------
    Number of chunks that were inflated. What is wrong with the next one it does not tell.
    """
    library = find_library()
    if library is None:
        return 0
    low, high = -np.inf, np.inf
    if dtype.kind != "f":
        info = np.iinfo(dtype)
        low, high = max(bounds[0], info.min), min(bounds[1], info.max)
    if low > high:
        return 0
    chunk = BUFFERS.empty(n * dtype.itemsize, np.uint8)
    between = dtype.type(low), dtype.type(high)
    return int(_inflate_each(library, stored, sizes, chunk, chunk.view(dtype), *between, out))
