"""Names and paths of ours that code, documentation and settings spell out lead somewhere."""

from __future__ import annotations

import importlib
import re
from pathlib import Path

import pytest

import scanpy_oom

ROOT = Path(__file__).parents[1]
SOURCE = Path(scanpy_oom.__file__).parent

NAME = re.compile(r"(?<![\w/.@-])scanpy_oom(?:\.[A-Za-z_]\w*)+(?!\w*[-@])")

# Files, entry points, and names that are made up for examples.
NO_NAMES = re.compile(r"^scanpy_oom\.(pth|egg|dist|org|html|readthedocs|git)\b")

TEXTS = sorted(
    [
        *SOURCE.rglob("*.py"),
        *(path for folder in ("docs", "benchmarks", "examples") for path in (ROOT / folder).rglob("*.md")),
        *(path for folder in ("docs", "benchmarks", "examples") for path in (ROOT / folder).rglob("*.py")),
        ROOT / "README.md",
        ROOT / "pyproject.toml",
    ]
)


def resolves(name: str) -> bool:
    """Tell whether a dotted name is that of a module, or of what one holds."""
    parts = name.split(".")
    for n in range(len(parts), 0, -1):
        try:
            found = importlib.import_module(".".join(parts[:n]))
        except ModuleNotFoundError as error:
            if error.name is not None and not error.name.startswith("scanpy_oom"):
                return True  # of an optional dependency
            continue
        for k, part in enumerate(parts[n:]):
            if not hasattr(found, part):
                if part in getattr(found, "__annotations__", {}) and k == len(parts) - n - 1:
                    return True
                break
            found = getattr(found, part)
        else:
            return True
    return False


@pytest.mark.parametrize("path", TEXTS, ids=lambda path: path.name)
def test_a_dotted_name_leads_somewhere(path: Path) -> None:
    names = {name for name in NAME.findall(path.read_text(encoding="utf-8")) if not NO_NAMES.match(name)}
    assert sorted(name for name in names if not resolves(name)) == []


@pytest.mark.parametrize("path", [path for path in TEXTS if path.suffix == ".md"], ids=lambda path: path.name)
def test_a_path_that_a_page_names_is_there(path: Path) -> None:
    named = re.findall(r"`([a-z_]+(?:/\w+)*/(?:\w+\.py)?)`", path.read_text(encoding="utf-8"))
    assert [one for one in named if not ((SOURCE / one).exists() or (ROOT / one).exists())] == []


def test_the_page_of_the_api_lists_all_that_is_public() -> None:
    page = (ROOT / "docs" / "api.md").read_text(encoding="utf-8")
    settings = [name for name, kind in vars(type(scanpy_oom.settings)).items() if isinstance(kind, property)]
    hidden = {"stage", "limits_memory"}  # a deprecated name, and what the engine asks
    for name in [*scanpy_oom.__all__, *(name for name in settings if name not in hidden)]:
        assert re.search(rf"\b{name}\b", page), name
