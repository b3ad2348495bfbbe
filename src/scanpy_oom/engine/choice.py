"""The choice of the engine: who makes passes, by `settings.engine`."""

from __future__ import annotations

import sys
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING

from ..errors import OOMError
from ..settings import settings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from .abc import Executor

__all__ = ["chosen_engine", "chosen_executor", "engine", "find_executors_with", "of_dask"]

THREADS = "threads"

_own: ContextVar[object] = ContextVar("engine", default=None)
_find: Callable[[object], Executor | None] | None = None


@contextmanager
def engine(engine: object) -> Iterator[None]:
    """Make passes on another engine for the time of a context, in this thread.

    Parameters
    ----------
    engine
        As :attr:`scanpy_oom.settings.engine <scanpy_oom.settings>` takes it: a :class:`dask.distributed.Client`, the
        address of a scheduler, ``"dask"`` for the current Dask client, or ``"threads"``.

    Examples
    --------
    >>> with scanpy_oom.engine(client):  # doctest: +SKIP
    ...     sc.pp.pca(adata)
    """
    token = _own.set(engine)
    try:
        chosen_executor()  # an error now, and not in the midst of the work
        yield
    finally:
        _own.reset(token)


def of_dask(engine: object) -> Executor | None:
    """Return what makes passes on workers of Dask; None if that is no engine of Dask.

    Raises
    ------
    OOMError
        If Dask is not installed.
    """
    is_client = not isinstance(engine, str) and "distributed" in sys.modules
    if not is_client and engine != "dask" and "://" not in str(engine):
        return None
    try:
        from .cluster.executor import executor_of
    except ModuleNotFoundError as error:
        if error.name not in {"dask", "distributed", "cloudpickle"}:
            raise
        msg = f"The engine {engine!r} needs Dask: `pip install 'scanpy-oom[dask]'`."
        raise OOMError(msg) from error
    return executor_of(engine)


def find_executors_with(find: Callable[[object], Executor | None]) -> None:
    """Register what returns the executor of an engine, or None if it knows none; it replaces :func:`of_dask`."""
    global _find  # noqa: PLW0603
    _find = find


def chosen_engine() -> object:
    """Return the engine of the context, or that of the settings."""
    own = _own.get()
    return settings.engine if own is None else own


def chosen_executor() -> Executor | None:
    """Return what makes passes on the engine of the moment; None for the threads of this process.

    Raises
    ------
    ValueError
        If nobody knows the engine.
    """
    chosen = chosen_engine()
    if isinstance(chosen, str) and chosen == THREADS:
        return None
    if (found := (_find or of_dask)(chosen)) is not None:
        return found
    msg = (
        f"scanpy_oom.settings.engine is {chosen!r}, which is no engine. Take 'threads', a dask.distributed.Client, the "
        "address of a Dask scheduler ('tcp://host:8786'), or 'dask' for the current Dask client."
    )
    raise ValueError(msg)
