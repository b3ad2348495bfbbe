"""Real files, read in both ways."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import anndata as ad
import numpy as np
import pandas as pd
import pytest
import scanpy as sc
from scipy import sparse

import scanpy_oom
from scanpy_oom import Override, hookimpl
from scanpy_oom.dispatch.plugins.manager import plugin_manager
from scanpy_oom.dispatch.registry import BUILTIN
from scanpy_oom.engine import budget


@pytest.fixture(scope="session", autouse=True)
def _enabled() -> None:
    """Also where the package is on the path and not installed."""
    scanpy_oom.enable()


@pytest.fixture(autouse=True)
def _nothing_said_yet(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(budget, "_announced", set())
    monkeypatch.setattr(budget, "NOTABLE", 0)  # of such small files nothing would be


@pytest.fixture(scope="session")
def h5ad(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Counts in X and in a layer, and a larger raw."""
    rng = np.random.default_rng(0)
    n_obs, n_vars = 90, 60
    counts = sparse.csr_matrix(rng.poisson(rng.gamma(0.5, 2, (1, n_vars)), (n_obs, n_vars)).astype(np.float32))
    obs = pd.DataFrame(
        {"kind": pd.Categorical(np.array(["a", "b", "c"])[np.arange(n_obs) % 3]), "depth": counts.sum(axis=1).A1},
        index=[f"cell{i}" for i in range(n_obs)],
    )
    adata = ad.AnnData(counts, obs=obs, var=pd.DataFrame(index=[f"gene{i}" for i in range(n_vars)]))
    adata.obsm["X_pca"] = rng.normal(size=(n_obs, 5))
    adata.raw = adata
    adata = adata[:, :55].copy()
    adata.layers["counts"] = adata.X.copy()
    path = tmp_path_factory.mktemp("dispatch") / "counts.h5ad"
    adata.write_h5ad(path, compression="gzip")
    return path


@pytest.fixture
def memory(h5ad: Path) -> ad.AnnData:
    """The file in memory."""
    return sc.read_h5ad(h5ad)


@pytest.fixture
def oom(h5ad: Path) -> ad.AnnData:
    """The file out of memory."""
    return sc.read_h5ad(h5ad, backed="oom")


@pytest.fixture
def snapshot() -> Callable[[ad.AnnData], dict[str, object]]:
    """What an AnnData holds, to compare with `==`; matrices on disk by identity."""

    def take(adata: ad.AnnData) -> dict[str, object]:
        parts: dict[str, object] = {"shape": adata.shape, "uns": repr(dict(adata.uns))}
        for name in ("obs", "var"):
            parts[name] = getattr(adata, name).to_csv()
        for name in ("obsm", "varm", "obsp", "varp"):
            parts[name] = {key: np.asarray(value).tolist() for key, value in getattr(adata, name).items()}
        parts["matrices"] = dict(adata.layers) | {"X": adata.X, "raw": None if adata.raw is None else adata.raw.X}
        return parts

    return take


@pytest.fixture
def no_overrides() -> Iterator[None]:
    """Every function as if it had no out-of-memory version."""

    class Plugin:
        @hookimpl
        def scanpy_oom_overrides(self) -> list[Override]:
            return [Override(override.function, None, override.uses) for override in BUILTIN]

    plugin = Plugin()
    plugin_manager().register(plugin)
    yield
    plugin_manager().unregister(plugin)
