"""scanpy-oom: the calls of the run in memory, on a file that stays on disk."""

from __future__ import annotations

import scanpy as sc

import scanpy_oom

from . import memory

__all__ = ["Workflow"]


class Workflow(memory.Workflow):
    """The steps: only reading differs."""

    def read(self) -> None:
        self.adata = sc.read_h5ad(self.file, backed="oom")
        self.adata.var_names_make_unique()

    def notes(self) -> list[str]:
        """Name what ran on data that were brought into memory for it."""
        calls = [call for call in scanpy_oom.report().calls if call.how == "materialised"]
        functions = ", ".join(dict.fromkeys(call.function for call in calls))
        return [f"on data brought into memory: {functions}"] if functions else []
