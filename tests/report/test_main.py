"""``python -m scanpy_oom --report``, with real scripts."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = """
import sys, scanpy as sc
adata = sc.read_h5ad(sys.argv[1])
sc.pp.calculate_qc_metrics(adata, percent_top=None, inplace=True)
sc.pp.log1p(adata)
"""


def run(*arguments: object, **options: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False, **options)


@pytest.fixture
def script(tmp_path: Path) -> Path:
    path = tmp_path / "workflow.py"
    path.write_text(SCRIPT)
    return path


def test_a_page_on_the_script_is_saved(script: Path, h5ad: Path, tmp_path: Path) -> None:
    done = run("-m", "scanpy_oom", "--report", "out.html", script, h5ad, cwd=tmp_path)
    assert done.returncode == 0
    assert done.stderr.splitlines()[-1] == f"scanpy-oom: the report of 3 calls is in {tmp_path / 'out.html'}"
    html = (tmp_path / "out.html").read_text(encoding="utf-8")
    assert "<h1>workflow.py</h1>" in html
    for function in ("read_h5ad", "pp.calculate_qc_metrics", "pp.log1p"):
        assert f"<code>{function}</code>" in html


def test_the_place_is_that_when_it_started(script: Path, h5ad: Path, tmp_path: Path) -> None:
    script.write_text(SCRIPT + "import os\nos.chdir('/')\n")
    assert run("-m", "scanpy_oom", "--report", "out.html", script, h5ad, cwd=tmp_path).returncode == 0
    assert (tmp_path / "out.html").exists()


@pytest.mark.slow
@pytest.mark.parametrize("end", ["def f(): raise ValueError('x')\nf()", "sys.exit(7)", "sys.exit('no')", "1 / 0"])
def test_a_script_that_fails_has_its_report_and_fails_as_ever(
    end: str, script: Path, h5ad: Path, tmp_path: Path
) -> None:
    script.write_text(SCRIPT + end)
    out = tmp_path / "out.html"
    plain = run("-m", "scanpy_oom", script, h5ad)
    reported = run("-m", "scanpy_oom", "--report", out, script, h5ad)
    said = f"scanpy-oom: the report of 3 calls is in {out}\n"
    assert said in reported.stderr
    assert plain.returncode != 0
    rest, alike = (re.sub("scanpy-oom: compiling .*\n", "", done.stderr) for done in (reported, plain))
    assert (reported.returncode, rest.replace(said, "")) == (plain.returncode, alike)
    assert "pp.log1p" in out.read_text(encoding="utf-8")


def test_a_module_has_its_report_too(script: Path, h5ad: Path, tmp_path: Path) -> None:
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])}
    done = run("-m", "scanpy_oom", "--report", tmp_path / "out.html", "-m", "workflow", h5ad, env=environment)
    assert done.returncode == 0, done.stderr
    assert "<h1>workflow</h1>" in (tmp_path / "out.html").read_text(encoding="utf-8")


def test_arguments_after_the_script_are_the_scripts(script: Path, tmp_path: Path) -> None:
    script.write_text("import sys; print(sys.argv[1:])")
    done = run("-m", "scanpy_oom", script, "--report", "out.html", cwd=tmp_path)
    assert done.stdout == "['--report', 'out.html']\n"
    assert not (tmp_path / "out.html").exists()


def test_a_place_that_cannot_be_written_to_is_refused_before_the_script_runs(script: Path, tmp_path: Path) -> None:
    script.write_text("print('ran')")
    os.mkfifo(tmp_path / "pipe")
    cases = {
        tmp_path / "no_such_folder" / "out.html": f"there is no folder {tmp_path / 'no_such_folder'} to save out.html",
        tmp_path: f"{tmp_path} is not a file",
        tmp_path / "pipe": "is not a file",
        script / "out.html": "there is no folder",
        Path("/proc/out.html"): "the folder /proc cannot be written to",
    }
    for place, message in cases.items():
        done = run("-m", "scanpy_oom", "--report", place, script)
        assert (done.returncode, done.stdout) == (2, "")
        assert message in done.stderr
        assert "Traceback" not in done.stderr


def test_a_report_that_cannot_be_saved_in_the_end_is_an_error(script: Path, tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    script.write_text("import os, sys; os.rmdir(sys.argv[1])")
    done = run("-m", "scanpy_oom", "--report", tmp_path / "folder" / "out.html", script, tmp_path / "folder")
    assert done.returncode == 1
    assert "the report could not be saved" in done.stderr
    assert "No such file or directory" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_script_that_opens_nothing_has_an_empty_report(script: Path, tmp_path: Path) -> None:
    script.write_text("")
    done = run("-m", "scanpy_oom", "--report", tmp_path / "out.html", script)
    assert "the report of 0 calls" in done.stderr
    assert "Nothing has been recorded" in (tmp_path / "out.html").read_text(encoding="utf-8")


def test_a_fork_of_the_script_saves_nothing(script: Path, tmp_path: Path) -> None:
    script.write_text("import os\npid = os.fork()\nif pid: os.waitpid(pid, 0)")
    done = run("-m", "scanpy_oom", "--report", tmp_path / "out.html", script)
    assert done.stderr.count("the report of") == 1
