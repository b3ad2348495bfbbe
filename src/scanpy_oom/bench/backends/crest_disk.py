"""CREST, out of core: the counts are written as Parquet first, which is a part of reading."""

from __future__ import annotations

import crest

from . import crest as in_memory

__all__ = ["Workflow"]


class Workflow(in_memory.Workflow):
    """The steps: only reading differs."""

    def read(self) -> None:
        folder = self.out / "parquet"
        crest.read_h5ad(self.file).write_parquet(folder)
        self.frame = crest.read_parquet(folder)

    def notes(self) -> list[str]:
        """Say what reading is."""
        return ["reading brings the file into memory once, and writes it as Parquet"]
