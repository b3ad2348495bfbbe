"""A limit on the memory that a test may take, for pytest: ``@pytest.mark.limit_memory("500 MB")``.

Loaded by pytest wherever this package is installed; it imports what it needs when a test asks for it. Where
pytest-memray is loaded, too, the marker is that of pytest-memray, which has the same name and counts allocations.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Generator
    from contextlib import AbstractContextManager

    from .memory.peak import PeakMemory

__all__ = ["measure_memory", "pytest_configure", "pytest_runtest_call"]


def pytest_configure(config: pytest.Config) -> None:
    """Tell pytest of the marker."""
    if config.pluginmanager.hasplugin("memray"):
        return
    config.addinivalue_line(
        "markers",
        "limit_memory(size): fail if the test raises the resident memory of its process by more than `size`, "
        "bytes or a text as '500 MB' (scanpy-oom).",
    )


@pytest.fixture
def measure_memory() -> Callable[[], AbstractContextManager[PeakMemory]]:
    """Measure the memory that part of a test takes: ``with measure_memory() as memory: ...``, then `memory.nbytes`."""
    from .memory.peak import PeakMemory

    return PeakMemory


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, object, object]:
    """Hold a test to its limit."""
    marker = item.get_closest_marker("limit_memory")
    if marker is None or item.config.pluginmanager.hasplugin("memray"):
        return (yield)
    from .memory.peak import PeakMemory
    from .settings import format_bytes, parse_bytes

    if len(marker.args) != 1 or marker.kwargs:
        msg = f"{item.nodeid}: limit_memory takes one size, as in limit_memory('500 MB')."
        raise pytest.UsageError(msg)
    limit = parse_bytes(marker.args[0])
    with PeakMemory() as memory:
        result = yield
    item.user_properties.append(("peak_memory", memory.nbytes))
    if memory.nbytes > limit:
        pytest.fail(
            f"{item.nodeid} took {format_bytes(memory.nbytes)} of memory; its limit is {format_bytes(limit)}.",
            pytrace=False,
        )
    return result
