"""The contract of engines: what makes passes."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .request import Results, Step

__all__ = ["Distribution", "Executor"]


@dataclass(frozen=True, slots=True)
class Distribution:
    """How an engine would make a pass on other machines.

    Parameters
    ----------
    engine
        What it is, as ``"4 Dask workers"``; empty if the pass is made in this process.
    n_tasks
        Tasks that compute it.
    moved
        Bytes that are sent between processes, about.
    why_here
        Why it is made in this process, as a phrase; empty if it is not.
    """

    engine: str
    n_tasks: int = 0
    moved: int = 0
    why_here: str = ""


class Executor(ABC):
    """What makes passes, or does something else with them."""

    @abstractmethod
    def run(self, step: Step) -> Results:
        """Return the result of each reduction of each request."""

    def distribution(self, step: Step) -> Distribution | None:
        """Return how a pass would be made on other machines; None for an engine that is in this process."""
        return None
