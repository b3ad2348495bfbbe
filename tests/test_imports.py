"""Which other packages the parts of this one may know. Who of ours may import whom is said in `pyproject.toml`."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import scanpy_oom

ROOT = Path(scanpy_oom.__file__).parent

FORBIDDEN = {
    "kernels": {"anndata", "h5py", "scanpy", "pandas"},
    "storage": {"scanpy"},
    "overrides": {"h5py", "numba", "cupy"},
}

modules = sorted(path.relative_to(ROOT) for path in ROOT.rglob("*.py") if path != ROOT / "__init__.py")
every_module = pytest.mark.parametrize("module", modules, ids=str)


def part_of(module: Path) -> str:
    return module.parts[0].removesuffix(".py")


def imports(node: ast.AST, package: list[str]) -> Iterator[str]:
    """Absolute names of all that is imported, in functions and for type checkers too."""
    for child in ast.walk(node):
        if isinstance(child, ast.Import):
            yield from (alias.name for alias in child.names)
        elif isinstance(child, ast.ImportFrom):
            above = package[: len(package) - child.level + 1] if child.level else []
            base = ".".join([*above, *([child.module] if child.module else [])])
            yield from (f"{base}.{alias.name}" for alias in child.names)


def imported(module: Path) -> list[str]:
    tree = ast.parse((ROOT / module).read_text(encoding="utf-8"))
    return list(imports(tree, ["scanpy_oom", *module.parts[:-1]]))


@every_module
def test_no_part_knows_what_it_is_not_to_know(module: Path) -> None:
    packages = {name.partition(".")[0] for name in imported(module)}
    assert not packages & FORBIDDEN.get(part_of(module), set())


@every_module
def test_private_names_of_anndata_are_imported_in_one_place(module: Path) -> None:
    private = {name for name in imported(module) if name.startswith("anndata.") and "._" in name}
    assert not private or module == Path("matrix/interop/anndata.py")


@every_module
def test_only_dispatch_sets_attributes_on_scanpy(module: Path) -> None:
    if part_of(module) == "dispatch":
        return
    tree = ast.parse((ROOT / module).read_text(encoding="utf-8"))
    aliases = {
        alias.asname or alias.name.partition(".")[0]
        for node in ast.walk(tree)
        if isinstance(node, ast.Import)
        for alias in node.names
        if alias.name.partition(".")[0] in {"anndata", "scanpy"}
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store | ast.Del):
            root = node.value
            while isinstance(root, ast.Attribute):
                root = root.value
            assert not (isinstance(root, ast.Name) and root.id in aliases), f"{module}:{node.lineno}"
