"""The check of memory, passes and bytes sees what is planted, and nothing where nothing is."""

from __future__ import annotations

import json
import re
import subprocess
import sys

import pytest

pytestmark = pytest.mark.slow

SMALL = ["--cells", "2000", "--genes", "2500", "--runs", "1"]

LEAK = """
import numpy as np
import scanpy as sc
kept, log1p = [], sc.pp.log1p
def leaky(*args, **kwargs):
    kept.append(np.ones(10_000_000))
    return log1p(*args, **kwargs)
sc.pp.log1p = leaky
"""

EXTRA_PASS = """
from scanpy_oom.overrides.pp import _highly_variable_genes as module
run = module.run
def twice(requests, **kwargs):
    run(requests, **kwargs)
    return run(requests, **kwargs)
module.run = twice
"""

NO_STAGE = """
import scanpy_oom
scanpy_oom.settings.cache = "off"
"""


def check(root, *arguments):
    command = [sys.executable, root / "benchmarks" / "memory.py", *SMALL, *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def baseline(root, tmp_path_factory):
    path = tmp_path_factory.mktemp("baseline") / "memory.json"
    done = check(root, "--update", "--baseline", path)
    assert done.returncode == 0, done.stderr
    return path


def test_the_same_again_has_not_grown(root, baseline):
    done = check(root, "--baseline", baseline)
    assert done.returncode == 0, done.stderr
    assert "->" in done.stdout


@pytest.mark.parametrize(
    "planted, said",
    [
        ([LEAK, EXTRA_PASS], ["normalize: .* MB of memory have become", "hvg: 1 passes have become 2"]),
        ([NO_STAGE], ["hvg: 0 bytes read have become"]),
    ],
    ids=["leak and pass", "bytes"],
)
def test_what_is_planted_is_found(root, baseline, tmp_path, planted, said):
    (tmp_path / "prelude.py").write_text("".join(planted))
    done = check(root, "--baseline", baseline, "--prelude", tmp_path / "prelude.py")
    assert done.returncode == 1
    for expected in said:
        assert any(re.search(expected, line) for line in done.stderr.splitlines()), done.stderr


def test_a_baseline_of_another_size_is_refused(root, baseline, tmp_path):
    other = json.loads(baseline.read_text())
    other["size"]["cells"] += 1
    (tmp_path / "other.json").write_text(json.dumps(other))
    done = check(root, "--baseline", tmp_path / "other.json")
    assert done.returncode == 2
    assert "other.json" in done.stderr


@pytest.mark.parametrize(
    "arguments, said",
    [
        (["--update"], "name another with --baseline"),
        (["--update", "--baseline", "benchmarks/baselines/memory.json"], "name another with --baseline"),
        (["--baseline", "absent.json"], "there is no absent.json: make it with --update"),
        (["--baseline", "b.json", "--update", "--runs", "0"], "at least one run"),
        (["--baseline", "b.json", "--update", "--cells", "400"], "of 1,000 cells"),
    ],
    ids=" ".join,
)
def test_what_cannot_be_measured_or_written_is_refused_with_the_reason(root, monkeypatch, arguments, said):
    monkeypatch.chdir(root)
    done = check(root, *arguments)
    assert done.returncode == 2
    assert said in done.stderr
    assert "Traceback" not in done.stderr


def test_the_baseline_that_is_kept_names_all_steps(root):
    kept = json.loads((root / "benchmarks" / "baselines" / "memory.json").read_text())
    assert {"read", "qc", "hvg", "pca", "wilcoxon", "write"} <= kept["steps"].keys()
    assert sum(step["passes"] for step in kept["steps"].values() if step["bytes_read"]) == 1
