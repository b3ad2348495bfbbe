"""Cells by batch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ...errors import UnsupportedOutOfMemory

if TYPE_CHECKING:
    from anndata import AnnData
    from numpy.typing import NDArray

__all__ = ["Batches"]


@dataclass(frozen=True, slots=True, eq=False)
class Batches:
    """The batch of each cell.

    Parameters
    ----------
    codes
        `(n_obs,)` positions among the names.
    names
        Names of the batches, ascending.
    given
        Whether batches were told apart at all.
    """

    codes: NDArray[np.int64]
    names: list[object]
    given: bool

    @classmethod
    def of(cls, adata: AnnData, key: str | None) -> Batches:
        """Return the batches that ``adata.obs[key]`` names, as :func:`numpy.unique` has them; one without a key."""
        if key is None:
            return cls(np.zeros(adata.n_obs, dtype=np.int64), [0], given=False)
        info = adata.obs[key]
        if info.isna().any():
            reason = f"`adata.obs[{key!r}]` has missing values, which belong to no batch"
            raise UnsupportedOutOfMemory(reason)
        names, codes = np.unique(info.to_numpy(), return_inverse=True)
        return cls(codes.reshape(-1).astype(np.int64), list(names), given=True)

    @property
    def n(self) -> int:
        """Number of batches."""
        return len(self.names)
