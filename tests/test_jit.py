"""What is compiled is kept where there is a place for it, and works where there is none; what is said of it is true."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numba
import pytest

SCRIPT = """
import numpy as np
from scipy import sparse
from scanpy_oom.storage.sources.memory import MemorySource
from scanpy_oom.matrix import OOMMatrix
print(OOMMatrix.from_source(MemorySource(sparse.csr_matrix(np.eye(5, dtype="f4")))).sum())
"""


def run(**variables: str | Path) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("NUMBA")}
    environment |= {name: str(value) for name, value in variables.items()}
    return subprocess.run([sys.executable, "-c", SCRIPT], env=environment, check=True, capture_output=True, text=True)


def test_what_is_compiled_is_kept_for_the_next_process(tmp_path):
    first, second = (run(NUMBA_CACHE_DIR=tmp_path) for _ in range(2))
    assert first.stdout == second.stdout == "5.0\n"
    assert first.stderr.count("compiling what this step needs (some seconds; kept for the next time)") == 1
    assert second.stderr == ""


@pytest.mark.skipif(not hasattr(numba.config, "CACHE_LOCATOR_CLASSES"), reason="this numba looks everywhere")
def test_where_nothing_can_be_kept_it_works_and_is_said(tmp_path):
    found = run(NUMBA_CACHE_LOCATOR_CLASSES="UserProvidedCacheLocator", TMPDIR=tmp_path)
    assert found.stdout == "5.0\n"
    assert "in every process, since there is no folder to keep it in: set NUMBA_CACHE_DIR" in found.stderr
    assert list(tmp_path.glob("scanpy-oom-compiled-*")) == []
