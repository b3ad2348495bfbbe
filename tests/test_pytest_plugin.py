"""Tests of users are held to their limits, by a pytest that has the package installed and nothing else."""

from __future__ import annotations

import re
import subprocess
import sys

TESTS = """
import numpy as np
import pytest

@pytest.mark.limit_memory("50 MB")
def test_takes_too_much():
    np.ones(20_000_000)

@pytest.mark.limit_memory("500 MB")
def test_takes_little():
    np.ones(20_000_000)

@pytest.mark.limit_memory(1)
def test_is_wrong_anyway():
    assert np.ones(20_000_000).sum() == 0

@pytest.mark.limit_memory()
def test_names_no_limit():
    pass

@pytest.mark.limit_memory("50 apples")
def test_names_no_size():
    pass

def test_has_no_limit():
    np.ones(20_000_000)

def test_measures(measure_memory):
    with measure_memory() as memory:
        np.ones(20_000_000)
    assert 158_000_000 <= memory.nbytes < 200_000_000
"""


def run(tmp_path, *arguments):
    (tmp_path / "test_users.py").write_text(TESTS)
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-p",
        "no:cacheprovider",
        "--strict-markers",
        *arguments,
        "test_users.py",
    ]
    return subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False).stdout


def test_a_test_is_held_to_its_limit(tmp_path):
    said = run(tmp_path, "-rA")
    outcomes = {name: outcome for outcome, name in re.findall(r"^(PASSED|FAILED) test_users\.py::(\w+)", said, re.M)}
    assert outcomes == {
        "test_takes_too_much": "FAILED",
        "test_takes_little": "PASSED",
        "test_is_wrong_anyway": "FAILED",
        "test_names_no_limit": "FAILED",
        "test_names_no_size": "FAILED",
        "test_has_no_limit": "PASSED",
        "test_measures": "PASSED",
    }
    assert "test_takes_too_much took 16" in said
    assert "its limit is 50 MB" in said
    assert "limit_memory takes one size" in said
    assert "50 apples" in said
    assert "assert np.float64(20000000.0) == 0" in said or "assert 20000000.0 == 0" in said


def test_the_marker_is_that_of_pytest_memray_where_this_is_loaded(tmp_path):
    (tmp_path / "conftest.py").write_text(
        "from types import SimpleNamespace\n"
        "def pytest_configure(config):\n"
        "    config.pluginmanager.register(SimpleNamespace(), 'memray')\n"
        "    config.addinivalue_line('markers', 'limit_memory(size, current_thread_only)')\n"
    )
    said = run(tmp_path, "-rA")
    assert "PASSED test_users.py::test_takes_too_much" in said
    assert "PASSED test_users.py::test_names_no_limit" in said


def test_the_marker_is_explained(tmp_path):
    assert "limit_memory(size)" in run(tmp_path, "--markers")
