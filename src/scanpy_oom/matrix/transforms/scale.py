"""Scaling of columns as a step of a lazy chain."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Self

from .base import Transform, is_single, taken
from .instruction import Call, Index, Instruction, Numbers

if TYPE_CHECKING:
    from types import ModuleType

    import numpy as np
    from numpy.typing import NDArray

    from ..selection import Axis

__all__ = ["Scale"]


@dataclass(frozen=True, eq=False)
class Scale(Transform):
    """Centring and scaling of columns, then clipping: :func:`scanpy.pp.scale`.

    Parameters
    ----------
    mean
        `(n_columns,)`, or None not to centre.
    std
        `(n_columns,)`, without zeros.
    max_value
        Bound of the absolute values after centring, or of the values where nothing is centred; None for no bound.
    mask
        `(n_rows,)` booleans: rows that are scaled; None for all.
    dtype
        Dtype of the result.
    dense
        Whether scanpy holds the result as a dense array.
    cuts_nan
        Whether NaN becomes `max_value`, as where scanpy goes through the rows of a sparse matrix.
    """

    mean: NDArray[np.float64] | None
    std: NDArray[np.float64]
    max_value: float | None
    mask: NDArray[np.bool_] | None
    dtype: np.dtype
    dense: bool
    cuts_nan: bool = False

    def result_dtype(self, dtype: np.dtype) -> np.dtype:
        return self.dtype

    def instructions(self, dtype: np.dtype) -> list[Instruction]:
        # in memory, centring a sparse matrix computes in double precision; storing the result rounds it, once
        single = is_single(self.dtype) and (self.dense or self.mean is None)
        stays_sparse = not self.dense and self.mean is None
        common: dict[str, Any] = {"only_rows": self.mask, "single": single, "keeps_zeros": stays_sparse}
        steps: list[Instruction] = []
        if self.mean is not None:
            steps.append(Call("subtract", column=self.mean, **common))
        steps.append(Call("divide", column=self.std, **common))
        if self.max_value is not None:
            steps += self._clipping(self.max_value, common)
        steps[-1] = replace(steps[-1], single=is_single(self.dtype))
        return steps

    def _clipping(self, bound: float, common: dict[str, Any]) -> list[Instruction]:
        if not bound >= 0 and self.mean is not None:  # bounds the wrong way round: the upper one comes first
            return [_CutAbove(bound, **common)]
        above = Call("fmin" if self.cuts_nan else "minimum", bound, **common)
        return [above] if self.mean is None else [above, Call("maximum", -bound, **common)]

    def take(self, rows: Axis, columns: Axis) -> Self:
        mean = None if self.mean is None else taken(self.mean, columns)
        mask = None if self.mask is None else taken(self.mask, rows)
        return replace(self, mean=mean, std=taken(self.std, columns), mask=mask)

    @property
    def leaves_csr(self) -> bool:  # type: ignore[override]
        return self.mask is not None and self.mean is None

    def makes_dense(self, *, was_dense: bool) -> bool:
        return self.dense

    def __str__(self) -> str:
        return "scale" + ("" if self.max_value is None else f" (at most {self.max_value:g})")


@dataclass(frozen=True, eq=False)
class _CutAbove(Instruction):
    """The bound for what is above it, and then its negative for what is below that."""

    bound: float

    def compute(self, xp: ModuleType, values: Numbers, rows: Index, columns: Index) -> NDArray[np.number | np.bool_]:
        return xp.where(values > self.bound, self.bound, xp.where(values < -self.bound, -self.bound, values))

    def lacking(self, xp: ModuleType) -> str:
        return "clip"  # not verified on a GPU
