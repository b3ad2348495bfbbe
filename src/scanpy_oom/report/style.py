"""Style sheets of the page."""

from __future__ import annotations

__all__ = ["PAGE", "STYLE"]

_LIGHT = """
color-scheme: light; --paper: #fff; --raised: #f5f7f8; --ink: #1e242b; --faint: #616b77; --rule: #dfe4e8;
--oom: #0b6e8a; --plain: #8b95a1; --loan: #b85c00; --error: #b3261e; --curve: #2b3a48; --limit: #b3261e;
"""

_DARK = """
color-scheme: dark; --paper: #14191f; --raised: #1d242c; --ink: #e6eaee; --faint: #98a3b0; --rule: #313b46;
--oom: #4cb8d6; --plain: #8b95a1; --loan: #eda24f; --error: #ff8a80; --curve: #d3dbe3; --limit: #ff8a80;
"""

PAGE = """
:root { color-scheme: light dark; }
body { margin: 0; background: #fff; }
@media (prefers-color-scheme: dark) { body { background: #14191f; } }
body > .scanpy-oom-report { max-width: 1120px; margin: 0 auto; padding: 2.5rem 1.5rem 3rem; }
@media print { body > .scanpy-oom-report { max-width: none; padding: 0; } }
"""
"""Of the page around the report."""

_RULES = """
{ box-sizing: border-box; background: var(--paper); color: var(--ink); padding: 1rem; font-size: 14px; line-height: 1.5;
  font-family: system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif; text-align: left; }
header { margin-bottom: 1.5rem; }
h1 { font-size: 1.7rem; line-height: 1.2; font-weight: 650; letter-spacing: -0.01em; margin: 0; color: var(--ink); }
h2 { font-size: 1.1rem; font-weight: 650; margin: 0; color: var(--ink); }
header p { margin: 0.35rem 0 0; color: var(--faint); }
section { margin-top: 2.25rem; }
.figures { display: grid; grid-template-columns: repeat(auto-fit, minmax(155px, 1fr)); gap: 0.75rem; margin: 0; }
.figures div { background: var(--raised); border-radius: 8px; padding: 0.75rem 0.9rem; }
.figures dt { color: var(--faint); font-size: 0.86rem; font-weight: 500; }
.figures dd { margin: 0; color: var(--faint); font-size: 0.8rem; line-height: 1.35; }
.figures dt + dd { color: var(--ink); font-size: 1.55rem; line-height: 1.35; font-weight: 600; }
.figures small { font-size: 0.9rem; font-weight: 400; color: var(--faint); }
.legend { margin: 0.4rem 0 0.2rem; color: var(--faint); }
.legend span { margin-right: 1.4em; white-space: nowrap; }
.legend i { display: inline-block; width: 0.8em; height: 0.8em; border-radius: 2px; margin-right: 0.5em;
  vertical-align: -0.06em; background: currentColor; }
.oom { color: var(--oom); fill: var(--oom); }
.plain { color: var(--plain); fill: var(--plain); }
.loan { color: var(--loan); fill: var(--loan); }
.failed { color: var(--error); }
.wide { overflow-x: auto; }
svg { display: block; width: 100%; min-width: 720px; height: auto; overflow: visible; }
svg text { font-family: inherit; font-size: 11.5px; fill: var(--faint); }
svg .label { fill: var(--ink); font-size: 11px; paint-order: stroke; stroke: var(--paper); stroke-width: 3px; }
svg .mid { text-anchor: middle; }
svg .end { text-anchor: end; }
svg .grid { stroke: var(--rule); stroke-width: 1; }
svg .axis { stroke: var(--faint); stroke-width: 1; }
svg .cut { fill: var(--raised); }
svg .band { opacity: 0.13; }
svg .band:hover { opacity: 0.3; }
svg .lane { stroke: var(--paper); stroke-width: 0.5; }
svg .lane.failed { fill: var(--error); }
svg .area { fill: var(--curve); opacity: 0.1; pointer-events: none; }
svg .curve { fill: none; stroke: var(--curve); stroke-width: 1.6; stroke-linejoin: round; pointer-events: none; }
svg .leader { stroke: var(--faint); stroke-width: 0.6; opacity: 0.6; }
svg line.limit { stroke: var(--limit); stroke-width: 1.3; stroke-dasharray: 6 4; }
svg text.limit { fill: var(--limit); }
table { border-collapse: collapse; width: 100%; margin: 0.75rem 0 0; font-size: 13.5px; color: inherit; }
th, td { padding: 0.42em 0.75em; text-align: left; vertical-align: baseline; border-bottom: 1px solid var(--rule);
  white-space: nowrap; background: none; }
thead th { color: var(--faint); font-weight: 500; font-size: 0.86rem; border-bottom-color: var(--faint); }
tbody tr:hover td { background: var(--raised); }
tfoot th, tfoot td { border-bottom: 0; border-top: 1px solid var(--faint); font-weight: 650; }
th.number, td.number { text-align: right; font-variant-numeric: tabular-nums; }
td:first-child { color: var(--faint); }
td.why { white-space: normal; min-width: 15em; color: var(--faint); }
.nested td { color: var(--faint); }
code { font-family: ui-monospace, SFMono-Regular, Menlo, Consolas, "DejaVu Sans Mono", monospace; font-size: 0.94em;
  background: none; padding: 0; color: var(--ink); }
.nested code { color: var(--faint); }
.how { font-size: 0.94em; font-weight: 550; }
.how::before { content: ""; display: inline-block; width: 0.55em; height: 0.55em; border-radius: 50%;
  margin-right: 0.5em; background: currentColor; vertical-align: 0.06em; }
.how.plain { color: var(--faint); font-weight: 400; }
.error { color: var(--error); font-weight: 600; }
.note { color: var(--faint); font-size: 0.88rem; margin: 0.6rem 0 0; max-width: 75ch; }
.empty { background: var(--raised); border-radius: 8px; padding: 1rem 1.2rem; }
footer { margin-top: 2.25rem; padding-top: 0.9rem; border-top: 1px solid var(--rule); color: var(--faint);
  font-size: 0.88rem; }
"""


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
{_scoped(_RULES, _NAME)}
"""
"""Of the report itself."""
