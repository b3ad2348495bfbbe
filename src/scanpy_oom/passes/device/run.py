"""Running a pass on a device: host threads read, inflate and select; the caller's thread sends blocks and adds them up.

While one block is worked on, the next is on its way, and more are being read.
"""

from __future__ import annotations

from collections import deque
from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from scanpy import logging as logg

from ...errors import DeviceError
from ...io.source import CSRBlock
from ...settings import format_bytes, settings
from ..budget import SMALLEST_BLOCK
from ..plan import Rows
from ..run import Pass
from .choice import chosen_device
from .forms import FORMS
from .program import ArrayReader, uncovered_steps

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from ..run import Request, Wish
    from .block import ArrayBlock
    from .device import Array, Device
    from .form import ArrayForm
    from .program import Operands

__all__ = ["DevicePass", "pass_on_device"]

BYTES_PER_ENTRY = 160
"""Bytes of the device's memory that a stored entry takes, with what is computed of it on the way."""

LARGEST_BLOCK = 2**22
"""Entries of a block: enough to make the launches of kernels negligible."""

IN_FLIGHT = 2
"""Blocks that are on the device: one that is worked on, one that is on its way."""


def pass_on_device(requests: Sequence[Request], staging: Wish) -> Pass:
    """Return a pass on the device of the settings; on the CPU, with the reason, where that does not cover it."""
    device = chosen_device()
    if device is None:
        return Pass(requests, staging)
    reason = uncovered(requests, device)
    if not reason:
        try:
            return DevicePass(requests, staging, device)
        except DeviceError:
            if settings.device != "auto":
                raise
            reason = f"want of memory on {device.title}"
    on_cpu = Pass(requests, staging)
    on_cpu.why_not_on_device = reason
    return on_cpu


def uncovered(requests: Sequence[Request], device: Device) -> str:
    """Return what of a pass has no form in arrays, in words; nothing if all of it has one."""
    for request in requests:
        for reduction in request.reductions:
            form = FORMS.get(type(reduction))
            if form is None or not form.covers(reduction, request.matrix):
                return type(reduction).__name__
        if steps := uncovered_steps(request.matrix, device.xp):
            return steps
    return ""


@dataclass
class _Packed:
    """Rows that were read, in pinned memory."""

    rows: Rows
    task: int
    stored: list[CSRBlock]
    operands: list[Operands]

    def halves(self) -> tuple[_Packed, _Packed]:
        """Return the first and the second half of the rows."""
        middle = self.rows.source_rows.size // 2
        return self._part(0, middle), self._part(middle, self.rows.source_rows.size)

    def _part(self, start: int, stop: int) -> _Packed:
        rows, some = self.rows, slice(start, stop)
        positions = rows.positions
        if isinstance(positions, slice):
            positions = slice(positions.start + start, positions.start + stop)
        else:
            positions = positions[some]
        parts = {id(part): _rows_of(part, start, stop) for part in self.stored}
        return _Packed(
            Rows(rows.first + start, positions, rows.source_rows[some]),
            self.task,
            [parts[id(part)] for part in self.stored],
            [operands.of_rows(some) for operands in self.operands],
        )


def _rows_of(block: CSRBlock, start: int, stop: int) -> CSRBlock:
    first, last = block.indptr[start], block.indptr[stop]
    return CSRBlock(block.indptr[start : stop + 1] - first, block.indices[first:last], block.data[first:last])


@dataclass
class _InFlight:
    """Blocks that are worked on, how to wait for that, and what must be kept until then."""

    blocks: list[ArrayBlock]
    wait: Callable[[], Any]
    kept: tuple[_Packed, list[Array]]


class DevicePass(Pass):
    """One pass under way, on a device.

    Parameters
    ----------
    requests, staging
        As of :class:`~scanpy_oom.passes.run.Pass`.
    device
        Where.
    """

    def __init__(self, requests: Sequence[Request], staging: Wish, device: Device) -> None:
        self.on = device
        self.device = device.title
        self.waiting: deque[_InFlight] = deque()
        super().__init__(requests, staging)

    def largest_entries(self) -> int:
        self.forms = [
            [FORMS[type(reduction)](reduction, request.matrix, self.on) for reduction in request.reductions]
            for request in self.requests
        ]
        states = sum(form.nbytes() for form in self._all_forms())
        entries = (self.on.memory - states) // (IN_FLIGHT * BYTES_PER_ENTRY)
        if entries < SMALLEST_BLOCK:
            least = states + IN_FLIGHT * BYTES_PER_ENTRY * SMALLEST_BLOCK
            msg = (
                f"A pass over {self.lead!r} takes at least {format_bytes(least)} of the memory of {self.device}, of "
                f"which {format_bytes(self.on.memory)} are for it. Take fewer columns or groups, raise "
                "`scanpy_oom.settings.device_memory_limit`, or set `scanpy_oom.settings.device = 'cpu'`."
            )
            raise DeviceError(msg)
        return min(entries, LARGEST_BLOCK)

    def _all_forms(self) -> list[ArrayForm]:
        return [form for row in self.forms for form in row]

    def reduce(self) -> list[list[Any]]:
        with self.on.working():
            self.array_readers = [ArrayReader(request.matrix, self.on) for request in self.requests]
            for form in self._all_forms():
                form.begin()
        tasks = [(0, self.plan.n_rows)] if self.in_one_piece else self.plan.tasks(self.partial_nbytes)
        calls = ((rows, k) for k, task in enumerate(tasks) for rows in self.plan.blocks(*task))
        current = 0
        with closing(self.in_order(self.pack, calls)) as packed:
            for one in packed:
                self.end_tasks(current, one.task)
                current = one.task
                self.add(one)
        while self.waiting:
            self.retire()
        with self.on.working():
            return [
                [r.finish(form.finish()) for r, form in zip(request.reductions, forms, strict=True)]
                for request, forms in zip(self.requests, self.forms, strict=True)
            ]

    def end_tasks(self, task: int, following: int) -> None:
        """End a task, if another one follows."""
        if task != following:
            with self.on.working():
                for form in self._all_forms():
                    form.end_task()

    def results(self, totals: list[list[Any]]) -> list[list[Any]]:
        with self.on.working():
            return [
                [form.result(total) for form, total in zip(forms, ts, strict=True)]
                for forms, ts in zip(self.forms, totals, strict=True)
            ]

    def pack(self, rows: Rows, task: int) -> _Packed:
        """Read rows, and put what the device needs of them into pinned memory. Runs on the host's threads."""
        shown = self.fetch(rows)
        pinned: dict[int, CSRBlock] = {}
        for part, reader in zip(shown, self.readers, strict=True):
            reader.complete_shown_totals(part, rows)
            if id(part) not in pinned:
                arrays = part.indptr, part.indices, part.data
                pinned[id(part)] = CSRBlock(*(self.on.pinned(array) for array in arrays))
        stored = [pinned[id(part)] for part in shown]
        nbytes = sum(part.indices.nbytes + part.data.nbytes for part in shown) + sum(
            part.indices.nbytes + part.data.nbytes for part in pinned.values()
        )
        self.count(rows, nbytes)
        return _Packed(rows, task, stored, [reader.operands(rows) for reader in self.array_readers])

    def add(self, packed: _Packed) -> None:
        """Send a block and begin to work on it; in halves, if there is no room for the whole."""
        try:
            blocks, sent = self.sent(packed)
        except MemoryError as error:
            if packed.rows.source_rows.size < 2:
                raise self.too_large(packed.stored[0].indices.size) from error
            self.make_room(packed.stored[0].indices.size)
            for half in packed.halves():
                self.add(half)
            return
        with self.on.working():
            for forms, block in zip(self.forms, blocks, strict=True):
                for form in forms:
                    for part in self.parts(form, block):
                        self.add_to(form, part)
        # what was sent, and where it was sent from, is kept until it is not needed any more: memory is used again
        self.waiting.append(_InFlight(blocks, self.on.mark(), (packed, sent)))
        if len(self.waiting) == IN_FLIGHT:
            self.retire()

    def sent(self, packed: _Packed) -> tuple[list[ArrayBlock], list[Array]]:
        """Send what was read, each array once, and make the blocks of it; return these and what was sent."""
        distinct = {id(part): part for part in packed.stored}
        arrays = [array for part in distinct.values() for array in (part.indptr, part.indices, part.data)]
        arrays += [array for operands in packed.operands for array in operands]
        sent = self.on.send(arrays)
        found = iter(sent)
        stored = {key: CSRBlock(next(found), next(found), next(found)) for key in distinct}
        operands = [one.of_arrays(found) for one in packed.operands]
        with self.on.working():
            blocks = [
                reader.block(stored[id(part)], one, packed.rows)
                for reader, part, one in zip(self.array_readers, packed.stored, operands, strict=True)
            ]
        return blocks, sent

    def parts(self, form: ArrayForm, block: ArrayBlock) -> Iterable[ArrayBlock]:
        """Return the block, or parts of it if it is to be given all of its values and these are too many at once."""
        n_rows = max(self.plan.entries // max(block.n_columns, 1), 1)
        return block.parts(n_rows) if form.wants_all_values(block) and n_rows < block.n_rows else (block,)

    def add_to(self, form: ArrayForm, block: ArrayBlock) -> None:
        """Add a block to what one form accumulates; in halves, if there is no room to compute it at once."""
        try:
            form.update(block.filled() if form.wants_all_values(block) else block)
        except MemoryError as error:
            if block.n_rows < 2:
                raise self.too_large(block.indices.size) from error
            self.make_room(block.indices.size)
            for half in block.halves():
                self.add_to(form, half)

    def retire(self) -> None:
        """Wait for the oldest block, and use what came back of it."""
        oldest = self.waiting.popleft()
        oldest.wait()
        for block in oldest.blocks:
            for array, use in block.later:
                use(array)

    def make_room(self, entries: int) -> None:
        """Finish what was begun, and go on with blocks half as large as one that found no room; say so once."""
        while self.waiting:
            self.retire()
        self.on.recover()
        if entries // 2 < self.plan.entries:
            self.plan.entries = max(entries // 2, 1)
            logg.warning(
                f"{self.device} has no room for a block of {entries:,} entries; going on with blocks of "
                f"{self.plan.entries:,}."
            )

    def too_large(self, entries: int) -> DeviceError:
        """Return the error that not even a row finds room."""
        msg = (
            f"A row of {entries:,} entries of {self.lead!r} finds no room in the memory of {self.device}, of which "
            f"{format_bytes(self.on.memory)} are for passes. Raise `scanpy_oom.settings.device_memory_limit`, or set "
            "`scanpy_oom.settings.device = 'cpu'`."
        )
        return DeviceError(msg)
