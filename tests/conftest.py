from __future__ import annotations

import os
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """The folder of real files."""
    folder = os.environ.get("SCANPY_OOM_TEST_DATA")
    if not folder:
        pytest.skip("SCANPY_OOM_TEST_DATA is not set: no real files to read")
    return Path(folder)


@pytest.fixture(scope="session")
def pbmc3k(data_dir: Path) -> Path:
    """Real counts: 2,700 cells, 32,738 genes."""
    return data_dir / "pbmc3k_counts.h5ad"


@pytest.fixture(scope="session")
def root() -> Path:
    """The folder of the repository."""
    return Path(__file__).parents[1]
