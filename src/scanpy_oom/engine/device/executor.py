"""Running a pass on a device: host threads read, inflate and select; the caller's thread sends blocks and adds them up.

While one block is worked on, the next is on its way, and more are being read.
"""

from __future__ import annotations

from collections import deque
from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ... import messages
from ...errors import DeviceError
from ...settings import format_bytes, settings
from ...storage.sources.base import CSRBlock
from ..budget import SMALLEST_BLOCK
from ..partition import Rows
from ..thread_pass import Pass
from .choice import chosen_device
from .program import ArrayReader, uncovered_steps

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from ...storage.abc import Values
    from ..array_implementation import AnyImplementation
    from ..reduction import Reduction
    from ..request import CachePolicy, Partials, Request, Results
    from .block import ArrayBlock
    from .device import Array, Device
    from .program import Operands

__all__ = ["DevicePass", "pass_on_device"]

BYTES_PER_ENTRY = 160
"""Bytes of the device's memory that a stored entry takes, with what is computed of it on the way."""

LARGEST_BLOCK = 2**22
"""Entries of a block: enough to make the launches of kernels negligible."""

IN_FLIGHT = 2
"""Blocks that are on the device: one that is worked on, one that is on its way."""


def pass_on_device(requests: Sequence[Request], policy: CachePolicy) -> Pass:
    """Return a pass on the device of the settings; on the CPU, with the reason, where that does not cover it."""
    device = chosen_device()
    if device is None:
        return Pass(requests, policy)
    reason = uncovered(requests, device)
    if not reason:
        try:
            return DevicePass(requests, policy, device)
        except DeviceError:
            if settings.device != "auto":
                raise
            reason = f"want of memory on {device.title}"
    on_cpu = Pass(requests, policy)
    on_cpu.why_not_on_device = reason
    return on_cpu


def uncovered(requests: Sequence[Request], device: Device) -> str:
    """Return the part of a pass that has no array implementation, in words; nothing if all of it has one."""
    for request in requests:
        for reduction in request.reductions:
            implementation = reduction.on_arrays
            if implementation is None or not implementation.covers(reduction.spec):
                return type(reduction).__name__
        if steps := uncovered_steps(request.matrix, device.xp):
            return steps
    return ""


@dataclass
class _Packed:
    """Rows that were read, in pinned memory."""

    rows: Rows
    task: tuple[int, int]
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
    wait: Callable[[], object]
    kept: tuple[_Packed, list[Array]]


class DevicePass(Pass):
    """One pass under way, on a device.

    Parameters
    ----------
    requests, policy
        As of :class:`~scanpy_oom.engine.thread_pass.Pass`.
    device
        Where.
    """

    def __init__(self, requests: Sequence[Request], policy: CachePolicy, device: Device) -> None:
        self.on = device
        self.device = device.title
        self.waiting: deque[_InFlight] = deque()
        super().__init__(requests, policy)

    def largest_entries(self) -> int:
        self.implementations = [
            [
                reduction.on_arrays(reduction.spec, request.matrix.shape, self.on)
                for reduction in request.reductions
                if reduction.on_arrays is not None
            ]
            for request in self.requests
        ]
        states = sum(
            implementation.copies * reduction.partial_nbytes() + implementation.workspace_nbytes()
            for reduction, implementation in self._pairs()
        )
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

    def _pairs(self) -> Iterator[tuple[Reduction, AnyImplementation]]:
        """Yield each reduction with its array implementation."""
        for request, implementations in zip(self.requests, self.implementations, strict=True):
            yield from zip(request.reductions, implementations, strict=True)

    def reduce(self) -> Partials:
        with self.on.working():
            self.array_readers = [ArrayReader(request.matrix, self.on) for request in self.requests]
            for reduction, implementation in self._pairs():
                implementation.begin(reduction.partial())
        whole = [[(0, self.partition.n_rows)]]
        groups = whole if self.in_one_piece else self.partition.groups(self.partial_nbytes)
        calls = (
            (rows, (k, start))
            for k, group in enumerate(groups)
            for start, stop in group
            for rows in self.partition.blocks(start, stop)
        )
        current = 0, 0
        with closing(self.in_order(self.pack, calls)) as packed:
            for one in packed:
                self.end_tasks(current, one.task)
                current = one.task
                self.add(one)
        while self.waiting:
            self.retire()
        with self.on.working():
            return [
                [r.finish(one.finish()) for r, one in zip(request.reductions, row, strict=True)]
                for request, row in zip(self.requests, self.implementations, strict=True)
            ]

    def end_tasks(self, task: tuple[int, int], following: tuple[int, int]) -> None:
        """End a task if another one follows, and its group if that one is of another; both by group and first row."""
        if task != following:
            with self.on.working():
                for _, implementation in self._pairs():
                    implementation.end_task()
                    if task[0] != following[0]:
                        implementation.end_group()

    def results(self, totals: Partials) -> Results:
        with self.on.working():
            return [
                [one.result(total, r.result) for r, one, total in zip(request.reductions, row, ts, strict=True)]
                for request, row, ts in zip(self.requests, self.implementations, totals, strict=True)
            ]

    def pack(self, rows: Rows, task: tuple[int, int]) -> _Packed:
        """Read rows, and put what the device needs of them into pinned memory. Runs on the host's threads."""
        fetched = zip(self.fetch(rows), self.block_readers, strict=True)
        shown = [reader.completed(part, rows) for part, reader in fetched]
        pinned: dict[int, CSRBlock] = {}
        for part in shown:
            if id(part) not in pinned:
                pin = self.on.pinned
                pinned[id(part)] = CSRBlock(pin(part.indptr), pin(part.indices), pin(part.data))
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
            for row, block in zip(self.implementations, blocks, strict=True):
                for implementation in row:
                    for part in self.parts(implementation, block):
                        self.add_to(implementation, part)
        # what was sent, and where it was sent from, is kept until it is not needed any more: memory is used again
        self.waiting.append(_InFlight(blocks, self.on.mark(), (packed, sent)))
        if len(self.waiting) == IN_FLIGHT:
            self.retire()

    def sent(self, packed: _Packed) -> tuple[list[ArrayBlock], list[Array]]:
        """Send what was read, each array once, and make the blocks of it; return these and what was sent."""
        distinct = {id(part): part for part in packed.stored}
        arrays: list[Values] = [array for part in distinct.values() for array in (part.indptr, part.indices, part.data)]
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

    def parts(self, implementation: AnyImplementation, block: ArrayBlock) -> Iterable[ArrayBlock]:
        """Return the block, or parts of it if it is to be given all of its values and these are too many at once."""
        n_rows = max(self.partition.entries // max(block.n_columns, 1), 1)
        return block.parts(n_rows) if implementation.wants_all_values(block) and n_rows < block.n_rows else (block,)

    def add_to(self, implementation: AnyImplementation, block: ArrayBlock) -> None:
        """Add a block to what one implementation accumulates; in halves, if there is no room to compute it at once."""
        try:
            implementation.update(block.filled() if implementation.wants_all_values(block) else block)
        except MemoryError as error:
            if block.n_rows < 2:
                raise self.too_large(block.indices.size) from error
            self.make_room(block.indices.size)
            for half in block.halves():
                self.add_to(implementation, half)

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
        if entries // 2 < self.partition.entries:
            self.partition.entries = max(entries // 2, 1)
            messages.warning(
                f"{self.device} has no room for a block of {entries:,} entries; going on with blocks of "
                f"{self.partition.entries:,}."
            )

    def too_large(self, entries: int) -> DeviceError:
        """Return the error that not even a row finds room."""
        msg = (
            f"A row of {entries:,} entries of {self.lead!r} finds no room in the memory of {self.device}, of which "
            f"{format_bytes(self.on.memory)} are for passes. Raise `scanpy_oom.settings.device_memory_limit`, or set "
            "`scanpy_oom.settings.device = 'cpu'`."
        )
        return DeviceError(msg)
