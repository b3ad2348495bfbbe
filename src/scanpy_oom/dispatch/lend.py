"""``with adata.oom.in_memory():`` for functions of other packages, of which nothing is known."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from ..matrix import OOMMatrix, underlying
from . import slots
from .gate import Used
from .loan import in_memory

if TYPE_CHECKING:
    from collections.abc import Iterator

    from anndata import AnnData

__all__ = ["lend"]


@contextmanager
def lend(adata: AnnData, names: tuple[str, ...]) -> Iterator[AnnData]:
    """Have matrices of an AnnData in memory for the time of the context.

    Parameters
    ----------
    adata
        The AnnData, or a view.
    names
        Matrices by the names of :mod:`~scanpy_oom.dispatch.slots`; X if there is none.

    Raises
    ------
    KeyError
        If there is no such matrix.
    MemoryBudgetExceeded
        If they take more than ``settings.memory_limit``.
    """
    there = dict(underlying(adata))
    wanted = names or ("X",)
    if missing := [name for name in wanted if name not in there]:
        msg = f"{missing[0]!r} is no matrix of this AnnData, which has {list(there)}."
        raise KeyError(msg)
    used = [Used(adata, name, slots.get(adata, name)) for name in wanted if isinstance(there[name], OOMMatrix)]
    if not used:
        yield adata
        return
    with in_memory("adata.oom.in_memory", used, (adata,), {}, "that is what it is for") as loan:
        yield loan.args[0]
