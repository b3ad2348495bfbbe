from __future__ import annotations

import gc
import os
from importlib import import_module
from pathlib import Path

import anndata as ad
import hypothesis
import numpy as np
import pytest
from scipy import sparse

import scanpy_oom
from scanpy_oom import settings

from .installed import Environment

# What a test takes the first time is what its kernels take to compile, on a machine that may be busy.
# Examples are the same each time: a change is judged by what it changes. `--hypothesis-profile random` finds others.
hypothesis.settings.register_profile("scanpy-oom", deadline=None, derandomize=True)
hypothesis.settings.register_profile("random", deadline=None)
hypothesis.settings.load_profile("scanpy-oom")


@pytest.fixture(scope="session", autouse=True)
def _all_is_imported() -> None:
    """Import modules before a test changes a constant: what is imported meanwhile keeps the changed one."""
    package = Path(scanpy_oom.__file__).parent
    for room in ("engine", "reductions", "queries", "neighbors", "overrides"):
        for path in sorted((package / room).rglob("*.py")):
            parts = path.relative_to(package.parent).with_suffix("").parts
            if "device" not in parts:  # which asks for CuPy
                import_module(".".join(parts).removesuffix(".__init__"))


@pytest.fixture(scope="module", autouse=True)
def _collect_what_is_new_alone(_all_is_imported: None) -> None:
    """Spare what is there already from the garbage collector: modules and compiled functions are a million objects."""
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True)
def _settings_as_before():
    """Give back what a test has set: a limit that stays behind makes another test fail."""
    before = dict(vars(settings))
    yield
    vars(settings).update(before)


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


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Environment:
    """Installed from a wheel."""
    return Environment(tmp_path_factory.mktemp("installed"), "wheel")


@pytest.fixture(scope="module")
def h5ad(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("data") / "counts.h5ad"
    counts = sparse.random(40, 30, 0.3, format="csr", dtype=np.float32, random_state=0)
    ad.AnnData(counts).write_h5ad(path)
    return path
