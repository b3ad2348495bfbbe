"""Progress of the demo: a bar on a terminal, a line per step elsewhere."""

from __future__ import annotations

import sys
import threading
from typing import TYPE_CHECKING, Self

from tqdm import tqdm

from ..settings import format_bytes

if TYPE_CHECKING:
    from types import TracebackType

__all__ = ["Display", "say"]

REFRESH = 0.5  # seconds between two updates of the clock


def say(text: str) -> None:
    """Write a line of progress, beside the results on standard output."""
    sys.stderr.write(f"{text}\n")
    sys.stderr.flush()


class Display:
    """Shows how far one part of the work has come.

    Parameters
    ----------
    title
        What is done.
    total
        Number of units of work.
    detail
        What is to be known of it.
    """

    def __init__(self, title: str, total: int, detail: str = "") -> None:
        self._title, self._detail = title, detail
        self._bar = tqdm(
            desc=self._describe(detail),
            total=total,
            disable=not sys.stderr.isatty(),
            bar_format="{desc}{percentage:3.0f}% |{bar:24}| {elapsed}",
        )
        self._stop = threading.Event()
        self._clock = threading.Thread(target=self._refresh, daemon=True)

    def __enter__(self) -> Self:
        if self._bar.disable:
            say(f"{self._title} ({self._detail}) ..." if self._detail else f"{self._title} ...")
        else:
            self._clock.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        if self._clock.is_alive():
            self._clock.join()
        self._bar.set_description_str(self._describe(""))
        self._bar.close()

    def advance(self, n: int) -> None:
        """Count `n` units of work as done."""
        self._bar.update(n)

    def start_step(self, step: str) -> None:
        """Name what is being done."""
        self._bar.set_description_str(self._describe(step))

    def finish_step(self, step: str, seconds: float, peak: int) -> None:
        """Count a step as done, and say what it cost where there is no bar."""
        self._bar.update(1)
        if self._bar.disable:
            say(f"  {step:<18} {seconds:8.2f} s {format_bytes(peak):>9}")

    def _describe(self, detail: str) -> str:
        return f"{self._title:<20}{detail:<22}"

    def _refresh(self) -> None:
        while not self._stop.wait(REFRESH):
            self._bar.refresh()
