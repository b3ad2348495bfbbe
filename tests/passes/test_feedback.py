"""What the user sees while a pass runs: in a real terminal, and where there is none."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
import termios
from pathlib import Path

import pytest

from ..matrices import annotated, counts

_SCRIPT = """
import sys, time
import scanpy as sc
from scanpy_oom.passes import feedback, run
feedback.PATIENCE = 0
adata = sc.read_h5ad(sys.argv[1], backed="oom")
if sys.argv[2:]:
    sc.settings.verbosity = int(sys.argv[2])
fetch = run.__globals__["fetch"]
def slowly(*arguments):
    time.sleep(0.02)
    return fetch(*arguments)
run.__globals__["fetch"] = slowly
print(int(adata.X.sum()))
"""


@pytest.fixture(scope="module")
def path(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("feedback") / "a.h5ad"
    annotated(counts(4000, 40)).write_h5ad(path, compression="gzip")
    return path


def in_a_terminal(*arguments: str | Path) -> str:
    """Run the script with a terminal as its standard error; return what is shown there."""
    controller, terminal = pty.openpty()
    termios.tcsetwinsize(terminal, (24, 100))
    process = subprocess.Popen([sys.executable, "-c", _SCRIPT, *arguments], stdout=subprocess.PIPE, stderr=terminal)
    os.close(terminal)
    shown = b""
    try:
        while more := os.read(controller, 2**16):
            shown += more
    except OSError:  # which is how Linux says that nobody writes any more
        assert process.wait() == 0
    os.close(controller)
    assert process.communicate()[0].strip() == str(int(counts(4000, 40).sum())).encode()
    return shown.decode()


def test_a_long_pass_shows_a_bar_in_a_terminal_which_goes_away(path):
    shown = in_a_terminal(path)
    assert "reading a.h5ad:/X" in shown
    assert "4.00k" in shown
    assert shown.endswith("\r")


def test_no_bar_is_shown_when_scanpy_is_to_be_silent(path):
    assert "reading" not in in_a_terminal(path, "0")


def test_no_bar_is_shown_where_there_is_no_terminal(path):
    found = subprocess.run([sys.executable, "-c", _SCRIPT, path], capture_output=True, text=True, check=True)
    assert "reading" not in found.stderr
