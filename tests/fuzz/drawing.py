"""Arguments of calls, drawn for an AnnData."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import FunctionType
from typing import Any

import anndata as ad
import numpy as np

from .terms import adata

__all__ = ["BOTH", "Draw", "Options", "Values", "cells", "genes", "group", "layer", "selection"]

Values = tuple[Any, ...] | Callable[["Draw"], Any]
"""Of which one is drawn, or what draws one."""

Options = Mapping[str, Values]
"""Arguments by name."""

BOTH = (True, False)


class Draw:
    """Draws what to do next with an AnnData.

    Parameters
    ----------
    rng
        Where chance comes from.
    adata
        The AnnData as it is in memory.
    """

    def __init__(self, rng: np.random.Generator, adata: ad.AnnData) -> None:
        self.rng, self.adata = rng, adata

    def one(self, *values: Any) -> Any:
        """Draw a value: functions among them draw on."""
        value = values[int(self.rng.integers(len(values)))]
        return value(self) if isinstance(value, FunctionType) else value

    def value(self, values: Values) -> Any:
        """Draw one of several values, or what a function draws."""
        return self.one(*values) if isinstance(values, tuple) else self.one(values)

    def some(self, options: Options, chance: float = 0.35) -> dict[str, Any]:
        """Draw some arguments, each with this chance."""
        return {name: self.value(values) for name, values in options.items() if self.rng.random() < chance}

    def happens(self, chance: float) -> bool:
        """Draw whether something happens."""
        return bool(self.rng.random() < chance)


def layer(draw: Draw) -> str | None:
    """Draw a layer that there is, none, or now and then one that there is not."""
    return draw.one(None, *[name for name in draw.adata.layers if name] * 2, *(["nope"] if draw.happens(0.05) else []))


def group(draw: Draw) -> str:
    """Draw a column with labels; not all columns are of labels."""
    return draw.one("g", "g", "g", "b", "b", "flag", "s", "i", "nope")


def genes(n: int) -> Callable[[Draw], list[str]]:
    """Return what draws up to `n` names of genes."""

    def some(draw: Draw) -> list[str]:
        names = np.asarray(draw.adata.var_names)
        return [str(name) for name in draw.rng.choice(names, min(n, len(names)), replace=False)]

    return some


def cells(n: int) -> Callable[[Draw], list[str]]:
    """Return what draws up to `n` names of cells."""

    def some(draw: Draw) -> list[str]:
        names = np.asarray(draw.adata.obs_names)
        return [str(name) for name in draw.rng.choice(names, min(n, len(names)), replace=False)]

    return some


def selection(draw: Draw, axis: int, *, named: bool = True) -> Any:
    """Draw a selection of cells or genes.

    Parameters
    ----------
    draw
        Where chance comes from.
    axis
        0 for cells, 1 for genes.
    named
        Whether names and columns of tables are selections.
    """
    rng, n = draw.rng, draw.adata.shape[axis]
    some = rng.integers(0, max(n, 1), int(rng.integers(0, 6)))
    choices: list[Any] = [
        int(rng.integers(-1, n + 1)) if draw.happens(0.3) else 0,
        [int(rng.integers(-n, n)) if n else 0],
        slice(int(rng.integers(0, max(n, 1))), n),
        draw.one(slice(None, None, 2), slice(None, None, -1), slice(1, None), slice(-3, None), slice(5, 2)),
        slice(None),
        [int(i) for i in some],
        rng.random(n) < 0.6,
        rng.permutation(n),
    ]
    if named:
        columns = ("obs", adata.obs, "flag"), ("var", adata.var, draw.one("hv", "mt", "highly_variable"))
        where, table, name = columns[axis]
        if name in getattr(draw.adata, where):
            choices += [table[name], table[name].to_numpy()]
        choices.append((genes if axis else cells)(4)(draw))
    return draw.one(*choices)
