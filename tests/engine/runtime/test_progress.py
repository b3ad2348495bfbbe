"""What the user sees while a pass runs: in a real terminal, and where there is none."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
import termios
from pathlib import Path

import nbclient
import nbformat
import pytest

from ...matrices import annotated, counts

_SCRIPT = """
import sys, time
import scanpy as sc
from scanpy_oom.engine import thread_pass
from scanpy_oom.engine.runtime import progress
progress.PATIENCE = 0
adata = sc.read_h5ad(sys.argv[1], backed="oom")
if sys.argv[2:]:
    sc.settings.verbosity = int(sys.argv[2])
fetch = thread_pass.fetch
def slowly(*arguments):
    time.sleep(0.02)
    return fetch(*arguments)
thread_pass.fetch = slowly
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


def in_a_notebook(*arguments: str | Path) -> str:
    """Run the script in a cell of a notebook; return what is shown below it, however it was made."""
    cell = nbformat.v4.new_code_cell(f"import sys\nsys.argv = {['', *map(str, arguments)]!r}\n{_SCRIPT}")
    notebook = nbformat.v4.new_notebook(cells=[cell])
    nbclient.NotebookClient(notebook, timeout=120, kernel_name="python3").execute()
    printed = [output.text for output in cell.outputs if output.output_type == "stream" and output.name == "stdout"]
    assert "".join(printed).strip() == str(int(counts(4000, 40).sum()))
    return str(cell.outputs)


def test_a_long_pass_shows_a_bar_in_a_notebook(path):
    assert "reading a.h5ad:/X" in in_a_notebook(path)


def test_no_bar_is_shown_in_a_notebook_at_verbosity_0(path):
    assert "reading" not in in_a_notebook(path, "0")


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
