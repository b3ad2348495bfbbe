"""Damages copies of a file at random, and holds what is read from them against what h5py reads.

``python -m tests.storage.flips here FILE SEED N`` does so `N` times, in this process, which a fault of the interpreter
ends. It prints the number of each case before it begins, and a line for each case in which the damage was neither
refused, with an error of ours or one that anndata raises as well, nor without effect on what h5py reads.
"""

from __future__ import annotations

import contextlib
import faulthandler
import json
import os
import resource
import sys
import tempfile
import warnings
from pathlib import Path
from typing import Any

import anndata as ad
import h5py
import numpy as np
from scipy import sparse

from scanpy_oom.errors import OOMError
from scanpy_oom.matrix import OOMMatrix
from scanpy_oom.storage.damage import is_damage
from scanpy_oom.storage.hdf5.read import read_h5ad
from scanpy_oom.storage.sources.base import Source

MEMORY = 6 * 2**30  # bytes of address space, beyond which a case is one that runs away
SECONDS = 30


def extents(path: Path) -> list[tuple[int, int]]:
    """Return where arrays of matrices lie in a file, and their lengths in bytes."""
    places: list[tuple[int, int]] = []

    def note(name: str, element: h5py.Group | h5py.Dataset) -> None:
        if not isinstance(element, h5py.Dataset) or not name.startswith(("X", "layers", "raw/X", "raw.X")):
            return
        if element.chunks is not None:
            element.id.chunk_iter(lambda chunk: places.append((chunk.byte_offset, chunk.size)))
        elif element.id.get_offset() is not None:
            places.append((element.id.get_offset(), element.id.get_storage_size()))

    with h5py.File(path) as h5:
        h5.visititems(note)
    return [(start, n) for start, n in places if n]


def damaged(content: bytes, rng: np.random.Generator, arrays: list[tuple[int, int]]) -> bytes:
    """Return a copy with a few damages of one kind, most often a flipped bit; every other one in one of the arrays."""
    new = bytearray(content)
    kind = rng.choice(["bit", "bit", "bit", "byte", "word", "zeros", "cut", "move"])
    for _ in range(rng.choice([1, 1, 1, 2, 5])):
        # metadata lies in few places, mostly towards the ends, and is what damage can do most with
        at = int(rng.integers(len(new)) if rng.random() < 0.6 else rng.integers(min(len(new), 4096)))
        at = len(new) - 1 - at if rng.random() < 0.2 else at
        if arrays and rng.random() < 0.5:
            start, n = arrays[rng.integers(len(arrays))]
            at = min(start + int(rng.integers(n)), len(new) - 1)  # the last damage may have cut it
        if kind == "bit":
            new[at] ^= 1 << int(rng.integers(8))
        elif kind == "byte":
            new[at] = int(rng.choice([0, 1, 127, 128, 254, 255, rng.integers(256)]))
        elif kind == "word":
            new[at : at + 4] = int(rng.integers(-3, 3)).to_bytes(4, "little", signed=True)[: len(new) - at]
        elif kind == "zeros":
            n = int(rng.integers(1, 300))
            new[at : at + n] = bytes(len(new[at : at + n]))
        elif kind == "cut":
            del new[max(at, 8) :]
        else:
            n = int(rng.integers(1, 64))
            other = int(rng.integers(len(new)))
            part = new[other : other + n]
            new[at : at + len(part)] = part[: len(new) - at]
    return _with_strings_of(content, new)


def _with_strings_of(content: bytes, new: bytearray) -> bytes:
    """Undo the damage to strings of varying length, on which HDF5 itself loops for ever, and anndata with it."""
    at = content.find(b"GCOL")
    while at >= 0:
        n = int.from_bytes(content[at + 8 : at + 16], "little")
        new[at : at + n] = content[at : at + n][: len(new[at:])]
        at = content.find(b"GCOL", at + n)
    return bytes(new)


def expected(path: Path, name: str) -> dict[str, Any]:
    """Return what h5py reads of a matrix: its arrays."""
    with h5py.File(path, "r") as h5:
        element = h5[name]
        if isinstance(element, h5py.Dataset):
            return {"dense": element[:]}
        return {key: element[key][:] for key in ("indptr", "indices", "data")}


def found(source: Source) -> dict[str, Any]:
    """Return the same, as read here."""
    if source.format == "csr":
        block = source.read_rows(slice(None))
        return {"indptr": block.indptr, "indices": block.indices, "data": block.data}
    block = source.read_rows(slice(None))
    rows = sparse.csr_matrix((block.data, block.indices, block.indptr), shape=source.shape)
    if source.format == "dense":
        return {"dense": rows.toarray()}
    columns = source.read_columns(slice(None))
    assert columns is not None
    assert (abs(rows - columns) > 0).nnz == 0 or not np.isfinite(rows.data).all(), "rows and columns differ"
    return {"indptr": columns.indptr, "indices": columns.indices, "data": columns.data}


def check(path: Path, original: Path) -> str | None:
    """Read a damaged file both ways; say what is wrong with what was read here, if anything is.

    HDF5 does not find chunks whose entry in its search trees is damaged, and gives zeros instead; and it looks at what
    only a writer must know. What the file held before it was damaged is right, too.
    """
    sources: list[Source] = []

    def wrap(source: Source) -> OOMMatrix:
        sources.append(source)
        return OOMMatrix.from_source(source)

    try:
        read_h5ad(path, wrap)
        arrays = [(source.name, found(source)) for source in sources]
    except OOMError:
        return None
    except Exception as error:  # noqa: BLE001 - whatever it is, it is compared with what anndata raises
        return f"{type(error).__name__} of HDF5: {error}" if is_damage(error) else _of_anndata_too(path, error)
    finally:
        for source in sources:
            source.close()
    for source, (name, here) in zip(sources, arrays, strict=True):
        if (impossible := _impossible(here, source)) is not None:
            return f"{name}: {impossible}"
        for there in (path, original):
            wrong = _difference(here, there, name)
            if wrong is None:
                break
        else:
            return f"{name}: {_difference(here, path, name)}"
    return None


def _impossible(here: dict[str, Any], source: Source) -> str | None:
    """Say which column (or row) there cannot be, of those that a kernel would write to."""
    if "indices" not in here or not here["indices"].size:
        return None
    n = source.shape[1] if source.format == "csr" else source.shape[0]
    least, most = here["indices"].min(), here["indices"].max()
    return None if 0 <= least <= most < n else f"indices lie between {least} and {most}, where there are {n}"


def _difference(here: dict[str, Any], path: Path, name: str) -> str | None:
    try:
        there = expected(path, name)
    except Exception as error:  # noqa: BLE001 - whatever keeps h5py from reading it
        return f"it is read, and h5py says {type(error).__name__}: {error}"
    for key, values in here.items():
        if values.shape != there[key].shape:
            return f"{key} has the shape {values.shape}, and {there[key].shape} with h5py"
        with np.errstate(all="ignore"):
            if not np.array_equal(values, there[key].astype(values.dtype), equal_nan=True):
                return f"{key} has other values than with h5py"
    return None


def _of_anndata_too(path: Path, error: Exception) -> str | None:
    try:
        ad.read_h5ad(path)
    except Exception:  # noqa: BLE001 - an error is what is expected
        return None
    return f"{type(error).__name__} where anndata reads the file: {error}"


def main(file: str, seed: str, n: str, first: str = "0", *, reader: str = "here") -> None:
    """Run the cases from `first` to before `n` of a seed; or read those files with anndata alone."""
    faulthandler.enable()
    warnings.simplefilter("ignore")
    _, most = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, most))
    content, arrays = Path(file).read_bytes(), extents(Path(file))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "damaged.h5ad"
        for case in range(int(first), int(n)):
            path.write_bytes(damaged(content, np.random.default_rng((int(seed), case)), arrays))
            os.write(1, f"{case}\n".encode())
            faulthandler.dump_traceback_later(SECONDS, exit=True)
            problem = check(path, Path(file)) if reader == "here" else None
            if reader == "anndata":
                with contextlib.suppress(Exception):
                    ad.read_h5ad(path)
            faulthandler.cancel_dump_traceback_later()
            if problem:
                os.write(1, (json.dumps({"case": case, "problem": problem}) + "\n").encode())


if __name__ == "__main__":
    main(*sys.argv[2:], reader=sys.argv[1])
