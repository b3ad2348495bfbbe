"""The contract of engines: what makes passes."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from .request import Step

__all__ = ["Distribution", "Executor"]

S = TypeVar("S")
T = TypeVar("T")
R = TypeVar("R")


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
    def run(self, step: Step) -> list[list[Any]]:
        """Return the result of each reduction of each request."""

    def spread(self, function: Callable[[S, T], R], shared: S, tasks: Sequence[T]) -> Iterator[R] | None:
        """Have a function of shared data and a task called for each task on other machines.

        Parameters
        ----------
        function
            A function of a module. Tasks may come in any order, and more than once.
        shared
            Its first argument, which is sent to each machine once.
        tasks
            Its second argument, for each call.

        Returns
        -------
        What it returns for each task, in order; None for an engine that is in this process.
        """
        return None

    def distribution(self, step: Step) -> Distribution | None:
        """Return how a pass would be made on other machines; None for an engine that is in this process."""
        return None
