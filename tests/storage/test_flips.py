"""A file that was damaged anywhere is refused, or gives the numbers that h5py gives; the interpreter lives on."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import anndata as ad
import h5py
import hdf5plugin
import numpy as np
import pandas as pd
import pytest
from scipy import sparse

pytestmark = [pytest.mark.slow, pytest.mark.skipif(sys.platform == "win32", reason="memory cannot be limited there")]

N_CASES = int(os.environ.get("SCANPY_OOM_FUZZ_CASES", "20"))
SEED = os.environ.get("SCANPY_OOM_FUZZ_SEED", "0")

MADE = {
    "contiguous": {},
    "chunked": {"chunks": True},
    "gzip": {"compression": "gzip"},
    "shuffle": {"compression": "gzip", "shuffle": True},
    "lzf": {"compression": "lzf"},
    "fletcher32": {"compression": "gzip", "fletcher32": True},
    "zstd": hdf5plugin.Zstd(),
    "blosc": hdf5plugin.Blosc(),
    "lz4": hdf5plugin.LZ4(),
}
REAL = [
    "formats/anndata_v0.7.0.h5ad",
    "formats/bpcells_anndata-v0.10.9_u16.h5ad",
    "formats/galaxy_pbmc3k_100cells_v0.6_csr_gzip.h5ad",
    "formats/seuratdisk_pbmc-small.h5ad",
    "formats/soma_pbmc-small_x-csc.h5ad",
    "formats/soma_pbmc-small_x-dense.h5ad",
]


def _worker(root: Path, reader: str, file: Path, n: int, first: int) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "tests.storage.flips", reader, str(file), SEED, str(n), str(first)]
    return subprocess.run(command, check=False, cwd=root, capture_output=True, text=True, timeout=900)


def _problems(root: Path, file: Path) -> list[str]:
    """Run all cases; a fault of the interpreter that anndata alone has, too, is HDF5's own."""
    problems: list[str] = []
    first = 0
    while first < N_CASES:
        done = _worker(root, "here", file, N_CASES, first)
        problems += [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
        cases = [int(line) for line in done.stdout.splitlines() if line.isdigit()]
        if done.returncode == 0:
            assert cases == list(range(first, N_CASES))
            break
        assert cases, done.stderr
        if _worker(root, "anndata", file, cases[-1] + 1, cases[-1]).returncode == 0:
            problems.append(f"case {cases[-1]} ends the interpreter: {done.stderr}")
        first = cases[-1] + 1
    return problems


@pytest.mark.parametrize("options", MADE.values(), ids=MADE)
def test_damage_anywhere_is_refused_or_does_no_harm(root, tmp_path, options):
    X = sparse.random(40, 25, 0.3, format="csr", random_state=0, dtype=np.float32)
    X.data = np.ceil(9 * X.data)
    path = tmp_path / "made.h5ad"
    names = {"obs": [f"c{i}" for i in range(40)], "var": [f"g{i}" for i in range(25)]}
    ad.AnnData(**{axis: pd.DataFrame(index=index) for axis, index in names.items()}).write_h5ad(path)
    with h5py.File(path, "a") as h5:
        for name, matrix in (("X", X), ("layers/csc", X.tocsc()), ("layers/dense", X.toarray())):
            chunks = {} if not options else {"chunks": (7, 9) if name == "layers/dense" else (31,)}
            group, key = (h5["layers"], name.removeprefix("layers/")) if "/" in name else (h5, name)
            ad.io.write_elem(group, key, matrix, dataset_kwargs={**options, **chunks})
    assert _problems(root, path) == []


@pytest.mark.parametrize("name", REAL)
def test_damage_to_a_real_file_is_refused_or_does_no_harm(root, data_dir, name):
    assert _problems(root, data_dir / name) == []
