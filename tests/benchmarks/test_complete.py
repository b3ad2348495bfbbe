"""Whatever is added is measured, too."""

from __future__ import annotations

import subprocess
import sys


def test_there_is_a_benchmark_for_every_kernel_reduction_and_override(root):
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-k", "is_measured", root / "benchmarks"]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
    assert "3 passed" in done.stdout
