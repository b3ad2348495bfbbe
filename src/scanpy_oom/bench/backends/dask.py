"""scanpy on anndata's lazy arrays of Dask."""

from __future__ import annotations

from typing import TYPE_CHECKING

import anndata as ad
import h5py
import pandas as pd
import scanpy as sc
from anndata.experimental import read_elem_lazy
from anndata.io import read_elem

from . import memory

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Workflow"]

ROWS = 5000
"""Rows of a chunk."""


class Workflow(memory.Workflow):
    """The steps: reading differs, and what a step leaves lazy by cell or gene is computed at its end."""

    def step(self, name: str) -> Callable[[], None]:
        """Return what takes the step, and computes what it has left lazy."""
        take = super().step(name)

        def take_and_compute() -> None:
            take()
            self._compute()

        return take_and_compute

    def read(self) -> None:
        file = h5py.File(self.file)  # read from until the process ends
        obs, var = read_elem(file["obs"]), read_elem(file["var"])
        matrix = read_elem_lazy(file["X"], chunks=(min(ROWS, len(obs)), len(var)))
        self.adata = ad.AnnData(matrix, obs=obs, var=var)
        self.adata.var_names_make_unique()

    def pca(self) -> None:
        # the solver that needs no further package, and that is exact
        sc.pp.pca(self.adata, n_comps=self.recipe.n_comps, svd_solver="covariance_eigh")

    def _compute(self) -> None:
        for table in (self.adata.obs, self.adata.var):
            for name in table:
                table[name] = _computed(table[name])
        for key, value in self.adata.obsm.items():
            if hasattr(value, "compute"):
                self.adata.obsm[key] = value.compute()


def _computed(column: pd.Series) -> object:
    values = column.array if isinstance(column.dtype, pd.CategoricalDtype) else column.to_numpy()
    return values.compute() if hasattr(values, "compute") else column
