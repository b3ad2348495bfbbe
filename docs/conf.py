"""Configuration of the documentation."""

from __future__ import annotations

import os
from importlib.metadata import metadata

os.environ.pop("MPLBACKEND", None)  # the kernels of executed pages show figures, whatever the tests are set to

info = metadata("scanpy-oom")

project = info["Name"]
author = "the scanpy-oom developers"
project_copyright = f"%Y, {author}"
version = release = info["Version"]

extensions = [
    "myst_nb",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx_autodoc_typehints",
    "sphinx_copybutton",
    "sphinx_design",
]

# In Markdown
myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 3
nb_execution_mode = "off"  # but for pages that ask for it

# API
autodoc_member_order = "bysource"
napoleon_google_docstring = False
napoleon_use_rtype = True
typehints_defaults = None
always_use_bars_union = True

# Appearance
html_theme = "sphinx_book_theme"
html_title = project
html_theme_options = {
    "navigation_with_keys": True,
    "path_to_docs": "docs/",
    "show_navbar_depth": 2,
    "use_repository_button": False,
}
pygments_style = "default"
exclude_patterns = ["_build", "benchmarks/*"]  # tables that the page includes
