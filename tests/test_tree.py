"""Tests mirror the tree of the package: a module has a test file of its name, or its folder says where it is tested."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import scanpy_oom

SOURCE = Path(scanpy_oom.__file__).parent
TESTS = Path(__file__).parent

MODULES = sorted(path.relative_to(SOURCE) for path in SOURCE.rglob("*.py") if path.name != "__init__.py")
FOLDERS = sorted({path.parent for path in MODULES})


def said(folder: Path) -> dict[str, list[str]]:
    """Return the test files of modules, by what the tests of their folder say."""
    text = ast.get_docstring(ast.parse((TESTS / folder / "__init__.py").read_text(encoding="utf-8"))) or ""
    lines = [line.split(": ") for line in text.splitlines()[2:]]
    return {name: files.split() for names, files in lines for name in names.split(", ")}


@pytest.mark.parametrize("module", MODULES, ids=str)
def test_a_module_has_a_test_file_or_its_folder_says_where_it_is_tested(module: Path) -> None:
    own = TESTS / module.parent / f"test_{module.name.lstrip('_')}"
    files = [own] if own.exists() else [TESTS / name for name in said(module.parent).get(module.stem, [])]
    assert files
    assert all(file.exists() for file in files)


@pytest.mark.parametrize("folder", FOLDERS, ids=str)
def test_a_folder_has_at_most_twenty_files_and_says_what_lives_there(folder: Path) -> None:
    files = [path for path in (SOURCE / folder).iterdir() if path.suffix == ".py" and path.name != "__init__.py"]
    assert len(files) <= 20
    assert ast.get_docstring(ast.parse((SOURCE / folder / "__init__.py").read_text(encoding="utf-8")))


@pytest.mark.parametrize("module", MODULES, ids=str)
def test_a_file_has_fewer_than_400_lines(module: Path) -> None:
    assert len((SOURCE / module).read_text(encoding="utf-8").splitlines()) < 400


@pytest.mark.parametrize("module", MODULES, ids=str)
def test_a_function_has_fewer_than_60_lines_but_for_its_signature_and_docstring(module: Path) -> None:
    tree = ast.parse((SOURCE / module).read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            body = node.body[1:] if ast.get_docstring(node) else node.body
            assert not body or (body[-1].end_lineno or 0) - body[0].lineno < 60, node.name
