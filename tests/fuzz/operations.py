"""Calls of scanpy, with the arguments that each is given, and how often each is drawn."""

from __future__ import annotations

from dataclasses import dataclass, field
from operator import attrgetter
from typing import Any

import numpy as np
import scanpy

from .drawing import BOTH, Draw, Options, Values, layer
from .terms import Name, Statement, Term, adata, graph, sc

__all__ = ["CHUNKS", "FLAGS", "LABELS", "OUT", "Scanpy", "draw_neighbors", "draw_statements"]

OUT = Name("out")
CHUNKS = (1, 3, 7, 1000)
FLAGS = ("flag", adata.obs["flag"].values, "nope")
LABELS = ("b", "g", "s", "flag", "nope")


@dataclass(frozen=True)
class Scanpy:
    """A function of scanpy.

    Parameters
    ----------
    weight
        How often it is drawn, among others.
    name
        Its name below ``scanpy``.
    args
        The values of each positional argument after the first.
    one
        Arguments of which exactly one is given.
    given
        Arguments that are always given.
    some
        Arguments each of which is given in some calls.
    first
        The first argument.
    least
        How many cells and genes it takes not to fail at once.
    """

    weight: float
    name: str
    args: tuple[Values, ...] = ()
    one: Options = field(default_factory=dict)
    given: Options = field(default_factory=dict)
    some: Options = field(default_factory=dict)
    first: Values = (adata,)
    least: tuple[int, int] = (0, 0)

    def is_installed(self) -> bool:
        """Tell whether the installed scanpy has the function."""
        try:
            attrgetter(self.name)(scanpy)
        except AttributeError:
            return False
        return True

    def draw(self, draw: Draw) -> list[Statement]:
        """Draw a call."""
        function: Term = attrgetter(self.name)(sc)
        kwargs: dict[str, Any] = {}
        if self.one:
            name = draw.one(*self.one)
            kwargs[name] = draw.value(self.one[name])
        kwargs |= draw.some(self.given, 1) | draw.some(self.some)
        args = [draw.value(values) for values in (self.first, *self.args)]
        return [Statement(function(*args, **kwargs), OUT)]


def draw_neighbors(draw: Draw) -> list[Statement]:
    """Draw what uses a graph of neighbors, after one was set."""
    names = {"connectivities_key": "connectivities", "distances_key": "connectivities", "params": {}}
    vals = {"vals": (adata.obs["q"].values,), "layer": layer, "use_raw": BOTH, "obsm": ("X_pca",)}
    metric = draw.one(sc.metrics.morans_i, sc.metrics.gearys_c)
    return [
        Statement(graph(adata.n_obs), adata.obsp["connectivities"]),
        Statement(names, adata.uns["neighbors"]),
        Statement(metric(adata, **draw.some(vals)), OUT),
    ]


def draw_statements(draw: Draw, operations: list[tuple[float, Any]]) -> list[Statement]:
    """Draw one of several weighted operations, and its statements."""
    weights = np.array([weight for weight, _ in operations])
    chosen = int(draw.rng.choice(len(operations), p=weights / weights.sum()))
    return operations[chosen][1](draw)
