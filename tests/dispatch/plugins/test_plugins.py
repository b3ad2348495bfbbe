"""A distribution of a third party, installed."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from scipy import sparse

import scanpy_oom

PLUGIN = Path(__file__).parents[2] / "plugin"

SCRIPT = """
import sys, warnings
import numpy as np
import scanpy as sc
import scanpy_oom
scanpy_oom.enable()

with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    adata = sc.read(sys.argv[1], backed="oom")
for warning in caught:
    if warning.category is RuntimeWarning:
        print("warned:", warning.message)

from scanpy_oom_example.plugin import observed
assert type(adata.X).__name__ == "OOMCSRMatrix", adata.X
print("source:", type(adata.X.source).__name__, adata.shape, list(adata.obs_names[:2]))
before = adata.X.to_memory()
sc.pp.sqrt(adata)
assert type(adata.X).__name__ == "OOMCSRMatrix", adata.X
np.testing.assert_allclose(adata.X.toarray(), np.sqrt(before.toarray()), rtol=1e-6)
sc.pp.log1p(adata)
sc.pp.sqrt(adata, chunked=True, chunk_size=4)
for call in observed:
    print("observed:", call.function, "|", call.how, "|", call.reason)

from scanpy_oom.dispatch.plugins.manager import plugin_manager
print("plugins:", sorted(name for name, _ in plugin_manager().list_name_plugin()))
"""


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which the plugin is installed."""
    target = tmp_path_factory.mktemp("site")
    arguments = ["--no-deps", "--no-build-isolation", "--no-index", "--disable-pip-version-check", "--target", target]
    subprocess.run([sys.executable, "-m", "pip", "install", "--quiet", *arguments, PLUGIN], check=True)
    return target


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A matrix in the plugin's format."""
    matrix = sparse.random(30, 20, 0.3, format="csr", dtype=np.float32, random_state=0)
    path = tmp_path / "matrix.csr"
    path.mkdir()
    for name in ("data", "indices", "indptr"):
        np.save(path / f"{name}.npy", getattr(matrix, name))
    np.save(path / "shape.npy", matrix.shape)
    (path / "obs_names.txt").write_text("\n".join(f"cell{i}" for i in range(30)))
    return path


def run(installed: Path, *arguments: str | Path) -> str:
    paths = [installed, Path(scanpy_oom.__file__).parents[1]]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(map(str, paths))}
    command = [sys.executable, "-c", *map(str, arguments)]
    result = subprocess.run(command, env=environment, check=False, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    return result.stdout


def test_an_installed_plugin_adds_a_source_an_override_and_an_observer(installed: Path, folder: Path) -> None:
    lines = run(installed, SCRIPT, folder).splitlines()
    assert "source: FolderSource (30, 20) ['cell0', 'cell1']" in lines
    assert "observed: pp.sqrt | out of memory | X is on disk" in lines
    assert "observed: pp.log1p | out of memory | X is on disk" in lines
    assert "observed: pp.sqrt | materialised | chunks are of no use here" in lines
    assert "plugins: ['built-in', 'example', 'report']" in lines


def test_plugins_that_do_not_load_are_named_and_left_out(installed: Path, folder: Path) -> None:
    warned = [line for line in run(installed, SCRIPT, folder).splitlines() if line.startswith("warned:")]
    broken, unknown = sorted(warned)
    assert "plugin 'broken' (scanpy-oom-example 1.0) could not be loaded" in broken
    assert "ImportError: this was meant to be" in broken
    assert "plugin 'unknown-hook' (scanpy-oom-example 1.0) could not be loaded" in unknown
    assert "unknown hook 'scanpy_oom_no_such_hook'" in unknown


def test_plugins_are_not_loaded_before_they_are_needed(installed: Path) -> None:
    script = """
import sys, scanpy as sc, numpy as np, scanpy_oom
scanpy_oom.enable()
sc.pp.log1p(np.ones((3, 3)))
print([name for name in sys.modules if name.startswith(("scanpy_oom_example", "pluggy", "scanpy_oom.matrix"))])
"""
    assert run(installed, script).strip() == "[]"
