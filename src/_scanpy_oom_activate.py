"""Waits for anndata and scanpy to be imported. ``scanpy_oom.pth`` imports this module whenever an interpreter starts.

So it is short, and imports nothing that is not there already. What is to be done then is in
:mod:`scanpy_oom.dispatch.importing`.
"""
# ruff: noqa: I002

import os
import sys


class Hook:
    """A finder on :data:`sys.meta_path`."""

    @staticmethod
    def find_spec(name: str, path: object = None, target: object = None) -> object:
        """Find anndata and scanpy, in a way that has their functions wrapped once they are imported."""
        if name not in {"anndata", "scanpy"}:
            return None
        try:
            from scanpy_oom.dispatch.importing import find_spec
        except ImportError as error:  # scanpy can be imported, whatever became of this package
            from warnings import warn

            warn(f"scanpy-oom is damaged, so `backed='oom'` is not known: {error}. Reinstall it.", stacklevel=2)
            return None
        return find_spec(name, path, target)


if os.environ.get("SCANPY_OOM_DISABLE", "0") in {"", "0"}:
    sys.meta_path.insert(0, Hook)  # type: ignore[arg-type]
