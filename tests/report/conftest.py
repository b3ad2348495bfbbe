"""Reports of calls that were never made, and of some that are."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import anndata as ad
import numpy as np
import pytest
from scipy import sparse

import scanpy_oom
from scanpy_oom.dispatch.plugins.hookspecs import DispatchedCall
from scanpy_oom.dispatch.telemetry.log import Log, Recorded
from scanpy_oom.engine.runtime.pass_log import Totals
from scanpy_oom.report.summary import Report

START = 1_750_000_000.0
NO_PASSES = Totals(0, 0)
MakeReport = Callable[..., Report]


@pytest.fixture(scope="session", autouse=True)
def _enabled() -> None:
    """Also where the package is on the path and not installed."""
    scanpy_oom.enable()


@pytest.fixture
def h5ad(tmp_path: Path) -> Path:
    path = tmp_path / "counts.h5ad"
    counts = sparse.random(80, 60, 0.3, format="csr", dtype=np.float32, random_state=0)
    ad.AnnData(counts).write_h5ad(path)
    return path


def call(function: str = "pp.log1p", *, at: float = 0.0, **fields: Any) -> DispatchedCall:
    """A call that began `at` seconds after the start."""
    defaults: dict[str, Any] = {
        "how": "out of memory", "reason": "X is on disk", "error": None, "seconds": 1.0, "bytes_read": 0, "passes": 0,
        "peak_memory": 0, "depth": 0, "caller": None,
    }  # fmt: skip
    return DispatchedCall(function=function, started=START + at, **(defaults | fields))


@pytest.fixture
def make_report() -> MakeReport:
    """A report of calls, memory as pairs of seconds from the start and bytes, and passes of the process."""

    def make(
        *calls: DispatchedCall,
        memory: tuple[tuple[float, int], ...] = ((0, 0),),
        passes: Totals = NO_PASSES,
        limit: int | None = None,
        length: int = 10_000,
    ) -> Report:
        log = Log(length)
        for one in calls:
            log.scanpy_oom_observe(one)
        kept = log.take()
        samples = tuple((START + at, 10**8 + above) for at, above in memory)
        recorded = Recorded(START, START + 60, kept.calls, kept.earlier, samples, 10**8, passes)
        return Report(recorded, limit, {"scanpy-oom": "1.2", "scanpy": "3.4"})

    return make
