"""Style sheets of the page."""

from __future__ import annotations

from importlib.resources import files

__all__ = ["PAGE", "STYLE"]


def _read(name: str) -> str:
    """Return a style sheet, without the comment in its first line."""
    return (files(__package__) / "static" / name).read_text(encoding="utf-8").partition("\n")[2]


_LIGHT = """
color-scheme: light; --paper: #fff; --raised: #f5f7f8; --ink: #1e242b; --faint: #616b77; --rule: #dfe4e8;
--oom: #0b6e8a; --plain: #8b95a1; --fallback: #b85c00; --error: #b3261e; --curve: #2b3a48; --limit: #b3261e;
"""

_DARK = """
color-scheme: dark; --paper: #14191f; --raised: #1d242c; --ink: #e6eaee; --faint: #98a3b0; --rule: #313b46;
--oom: #4cb8d6; --plain: #8b95a1; --fallback: #eda24f; --error: #ff8a80; --curve: #d3dbe3; --limit: #ff8a80;
"""

PAGE = _read("page.css")
"""Style of the page around the report."""


def _scoped(rules: str, name: str) -> str:
    """Put a class in front of each selector, so that a notebook around it keeps its own style."""
    scoped = []
    for rule in rules.strip().replace("\n  ", " ").splitlines():
        selectors, brace, declarations = rule.partition("{")
        prefixed = ", ".join(f"{name} {selector.strip()}".strip() for selector in selectors.split(","))
        scoped.append(f"{prefixed} {brace}{declarations}")
    return "\n".join(scoped)


_NAME = ".scanpy-oom-report"

STYLE = f"""
{_NAME} {{ {_LIGHT} }}
@media (prefers-color-scheme: dark) {{ {_NAME} {{ {_DARK} }} }}
[data-jp-theme-light="true"] {_NAME}, .vscode-light {_NAME} {{ {_LIGHT} }}
[data-jp-theme-light="false"] {_NAME}, .vscode-dark {_NAME} {{ {_DARK} }}
{_scoped(_read("report.css"), _NAME)}
"""
"""Style of the report itself."""
