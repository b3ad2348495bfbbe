"""Reading alone: how fast stored values come out of a file, by how it is compressed and by who reads it.

``python benchmarks/reading.py`` makes a matrix, writes it once for each filter, has each reader read all of it in
blocks of rows, on one thread and on two, and prints bytes of values and column numbers per second, and how often that
is what h5py reaches on as many threads. Readers take turns, so that all meet the same machine, and the best of the
rounds counts. ``isal`` and ``libdeflate`` inflate the same chunks, in memory already: what a reader of
gzip can reach.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anndata as ad
import deflate
import h5py
import hdf5plugin
import numpy as np
from isal import igzip_lib
from scipy import sparse

from scanpy_oom.bench.atlas import write_atlas
from scanpy_oom.memory.buffer_pool import BUFFERS
from scanpy_oom.storage.hdf5.file import SourceFile
from scanpy_oom.storage.hdf5.open import open_source

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

N_CELLS, N_GENES = 20_000, 30_000
BLOCK, CHUNK = 2**19, 100_000
GZIP: dict[str, Any] = {"compression": "gzip", "compression_opts": 4}
FILTERS: dict[str, dict[str, Any]] = {
    "none": {},
    "gzip": GZIP,
    "shuffle+gzip": {**GZIP, "shuffle": True},
    "lzf": {"compression": "lzf"},
    "fletcher32": {"fletcher32": True},
    "zstd": dict(hdf5plugin.Zstd(clevel=3)),
    "blosc": dict(hdf5plugin.Blosc(cname="zstd", clevel=3)),
}

INFLATE = ("isal", "libdeflate")

Work = tuple["Callable[[Any], Any]", list[Any]]
"""What is done to each of some things, in any order."""


def blocks(indptr: np.ndarray) -> list[slice]:
    """Cut rows into blocks of about as many entries as a pass reads at a time."""
    edges = np.unique(np.append(np.searchsorted(indptr, np.arange(0, indptr[-1], BLOCK)), len(indptr) - 1))
    return [slice(start, stop) for start, stop in pairwise(edges.tolist())]


def of_package(path: Path, rows: list[slice]) -> Work:
    """Read with the sources of this package."""
    return open_source(path).read_rows, rows


def of_h5py(path: Path, rows: list[slice]) -> Work:
    """Read both arrays with h5py."""
    x = h5py.File(path)["X"]
    data, indices, indptr = x["data"], x["indices"], x["indptr"][:]

    def read(block: slice) -> tuple[np.ndarray, np.ndarray]:
        start, stop = indptr[block.start], indptr[block.stop]
        return data[start:stop], indices[start:stop]

    return read, rows


def of_anndata(path: Path, rows: list[slice]) -> Work:
    """Read with what ``backed="r"`` shows."""
    return ad.read_h5ad(path, backed="r").X.__getitem__, rows


def of_anndataoom(path: Path, rows: list[slice]) -> Work:
    """Read with the iterator of anndataoom, which is one for all threads."""
    import anndataoom

    adata = anndataoom.read(str(path))

    def read(size: int) -> None:
        for _ in adata.X.chunked(size):
            pass

    return read, [int(np.median([block.stop - block.start for block in rows]))]


def of_memory(path: Path, rows: list[slice]) -> Work:
    """Copy what is in memory already."""
    x = ad.read_h5ad(path).X

    def read(block: slice) -> tuple[np.ndarray, np.ndarray]:
        start, stop = x.indptr[block.start], x.indptr[block.stop]
        return x.data[start:stop].copy(), x.indices[start:stop].copy()

    return read, rows


def _chunks(path: Path) -> list[bytes]:
    """Return the chunks of both arrays as they are stored."""
    file = SourceFile(path)
    stored = []
    with file.open_library() as h5:
        for name in ("X/data", "X/indices"):
            h5[name].id.chunk_iter(lambda chunk: stored.append(file.pread(chunk.size, chunk.byte_offset)))
    return stored


def isal(path: Path, rows: list[slice]) -> Work:
    """Inflate with isal, which needs room for one byte more to find that all is done."""
    size = 4 * CHUNK + 1

    def read(chunk: bytes) -> bytes:
        return igzip_lib.IgzipDecompressor(igzip_lib.DECOMP_ZLIB, 15).decompress(chunk, size)

    return read, _chunks(path)


def libdeflate(path: Path, rows: list[slice]) -> Work:
    """Inflate with libdeflate."""
    return lambda chunk: deflate.zlib_decompress(chunk, 4 * CHUNK), _chunks(path)


READERS = {
    "scanpy-oom": of_package,
    "h5py": of_h5py,
    'backed="r"': of_anndata,
    "anndataoom": of_anndataoom,
    "isal": isal,
    "libdeflate": libdeflate,
    "memory copy": of_memory,
}


def seconds(work: Work, n_threads: int) -> float:
    """Do all of it once."""
    function, items = work
    start = time.perf_counter()
    if n_threads == 1:
        for item in items:
            function(item)
    else:
        with ThreadPoolExecutor(n_threads) as pool:
            for _ in pool.map(lambda item: (function(item), None)[1], items):
                pass
    return time.perf_counter() - start


def runs(name: str, filters: dict[str, Any], n_threads: int) -> bool:
    """Tell whether a reader reads what is stored so, on so many threads: anndataoom knows gzip alone."""
    compression = filters.get("compression")
    if name in INFLATE:
        return compression == "gzip"
    return name != "anndataoom" or (n_threads == 1 and compression in {None, "gzip"})


def measure(path: Path, filters: dict[str, Any], threads: list[int], rounds: int) -> dict[tuple[str, int], float]:
    """Return the best time of each reader on each number of threads."""
    with h5py.File(path) as h5:
        rows = blocks(h5["X/indptr"][:])
    wanted = [(name, n) for n in threads for name in READERS if runs(name, filters, n)]
    works = {name: READERS[name](path, rows) for name, _ in wanted}
    best: dict[tuple[str, int], float] = {}
    with BUFFERS.in_use():  # as in a pass
        for _ in range(rounds):
            for name, n in wanted:
                best[name, n] = min(best.get((name, n), np.inf), seconds(works[name], n))
    return best


def write(path: Path, counts: ad.AnnData, filters: dict[str, Any]) -> None:
    """Write the matrix in one way."""
    ad.AnnData(obs=counts.obs[[]], var=counts.var[[]]).write_h5ad(path)
    options = {"chunks": (CHUNK,), **filters} if filters else {}
    with h5py.File(path, "a") as h5:
        group = h5.create_group("X")
        group.attrs.update({"encoding-type": "csr_matrix", "encoding-version": "0.1.0", "shape": counts.shape})
        group["indptr"] = counts.X.indptr
        for key in ("data", "indices"):
            group.create_dataset(key, data=getattr(counts.X, key), **options)


def lines(label: str, nbytes: int, best: dict[tuple[str, int], float]) -> Iterator[str]:
    """Say how fast each reader was."""
    for (name, n), took in best.items():
        speed = f"{nbytes / took / 1e6:,.0f} MB/s"
        ratio = f"{best['h5py', n] / took:.2f} x h5py"
        share = ", ".join(f"{best[it, n] / took:.0%} of {it}" for it in INFLATE if (it, n) in best)
        yield f"{label:<14}{n:>2} thread{'s' if n > 1 else ' '}  {name:<12}{speed:>14}{ratio:>14}   {share}".rstrip()


def main() -> None:
    """Run as the command line says."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--file", type=Path, help="an h5ad with CSR counts as X, in place of one that is made")
    parser.add_argument("--cells", type=int, default=N_CELLS, help="cells that are read (%(default)s)")
    parser.add_argument("--genes", type=int, default=N_GENES, help="genes of a matrix that is made (%(default)s)")
    parser.add_argument("--filters", nargs="+", choices=FILTERS, default=list(FILTERS), help="(%(default)s)")
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2], help="(%(default)s)")
    parser.add_argument("--rounds", type=int, default=3, help="of which the best counts (%(default)s)")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        path = args.file or Path(folder) / "made.h5ad"
        if args.file is None:
            write_atlas(path, n_cells=args.cells, n_genes=args.genes)
        counts = ad.read_h5ad(path, backed="r")[: args.cells].to_memory()
        counts.X = sparse.csr_matrix(counts.X, dtype=np.float32)
        nbytes = counts.X.data.nbytes + counts.X.indices.nbytes
        for name in args.filters:
            stored = Path(folder) / f"{name}.h5ad"
            write(stored, counts, FILTERS[name])
            best = measure(stored, FILTERS[name], args.threads, args.rounds)
            sys.stdout.write("\n".join(lines(name, nbytes, best)) + "\n")
            sys.stdout.flush()
            stored.unlink()


if __name__ == "__main__":
    main()
