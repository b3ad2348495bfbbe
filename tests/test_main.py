"""``python -m scanpy_oom``: scripts and modules run as they are, out of memory."""

from __future__ import annotations

from pathlib import Path

import pytest

from .installed import Environment

WHERE = """
import sys
print(sys.argv[1:], sys.path[0], __name__, __file__, __spec__, sys.modules["__main__"].__dict__ is globals())
def annotated(x: int): ...
print(annotated.__annotations__)
"""


def test_a_script_runs_as_python_runs_it(installed: Environment, tmp_path: Path) -> None:
    (tmp_path / "script.py").write_text(WHERE)
    arguments = [tmp_path / "script.py", "a", "-m", "b", "--version"]
    assert installed.run("-m", "scanpy_oom", *arguments).stdout == installed.run(*arguments).stdout


def test_a_module_runs_as_python_runs_it(installed: Environment, tmp_path: Path) -> None:
    (tmp_path / "package").mkdir()
    for name in ("__init__", "__main__", "module"):
        (tmp_path / "package" / f"{name}.py").write_text(WHERE if name != "__init__" else "")
    for module in ("package", "package.module"):
        ours, pythons = (
            installed.run(*before, "-m", module, "a", "--help", PYTHONPATH=str(tmp_path)).stdout.split(" ModuleSpec")[0]
            for before in (["-m", "scanpy_oom"], [])
        )
        assert ours == pythons
        assert "['a', '--help']" in ours


def test_a_folder_with_a_main_module_runs(installed: Environment, tmp_path: Path) -> None:
    (tmp_path / "__main__.py").write_text("import sys, other; print(__name__, sys.argv[1:], other.__name__)")
    (tmp_path / "other.py").write_text("")
    assert installed.run("-m", "scanpy_oom", tmp_path, "a").stdout == "__main__ ['a'] other\n"


def test_files_are_read_out_of_memory(installed: Environment, h5ad: Path, tmp_path: Path) -> None:
    (tmp_path / "script.py").write_text("""
import sys, scanpy as sc, anndata as ad
path = sys.argv[1]
for adata in (sc.read_h5ad(path), sc.read(path), ad.read_h5ad(path), sc.read_h5ad(path, backed=False)):
    print(type(adata.X).__name__)
""")
    lines = installed.run("-m", "scanpy_oom", tmp_path / "script.py", h5ad).stdout.split()
    assert lines == ["OOMCSRMatrix", "OOMCSRMatrix", "OOMCSRMatrix", "csr_matrix"]


@pytest.mark.parametrize("body", ["def f(): raise ValueError('x')\nf()", "1 +", "import sys; sys.exit(7)", "1 / 0"])
def test_a_script_that_fails_fails_as_it_does_in_python(body: str, installed: Environment, tmp_path: Path) -> None:
    (tmp_path / "script.py").write_text(body)
    ours = installed.run("-m", "scanpy_oom", tmp_path / "script.py", check=False)
    pythons = installed.run(tmp_path / "script.py", check=False)
    assert (ours.returncode, ours.stderr) == (pythons.returncode, pythons.stderr)


def test_an_error_in_a_module_begins_in_the_module(installed: Environment, tmp_path: Path) -> None:
    (tmp_path / "failing.py").write_text("raise ValueError('x')")
    result = installed.run("-m", "scanpy_oom", "-m", "failing", check=False, PYTHONPATH=str(tmp_path))
    assert result.returncode == 1
    assert "scanpy_oom" not in result.stderr
    assert "runpy" not in result.stderr


def test_nothing_to_run_is_said(installed: Environment, tmp_path: Path) -> None:
    missing = tmp_path / "missing.py"
    cases = {
        (): (2, "name a script, or a module with -m"),
        ("-m",): (2, "name a script, or a module with -m"),
        (str(missing),): (2, f"can't open file '{missing}': No such file or directory"),
        ("-m", "no_such_module"): (1, "No module named no_such_module"),
        ("-m", "no_such_package.module"): (1, "No module named no_such_package.module"),
    }
    for arguments, (status, message) in cases.items():
        result = installed.run("-m", "scanpy_oom", *arguments, check=False)
        assert result.returncode == status
        assert message in result.stderr
        assert "Traceback" not in result.stderr


def test_help_and_version_are_there(installed: Environment) -> None:
    assert "-m MODULE | SCRIPT" in installed.run("-m", "scanpy_oom", "--help").stdout
    assert installed.run("-m", "scanpy_oom", "--version").stdout.startswith("scanpy-oom ")
