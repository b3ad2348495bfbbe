"""Blocks of rows as reductions are given them."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import sparse

from scanpy_oom.engine import block as blocks
from scanpy_oom.engine.block import Block
from scanpy_oom.engine.compute import compute
from scanpy_oom.matrix.transforms import Elementwise
from scanpy_oom.reductions import GroupWelford, TopSums

from ..matrices import counts, oom


def of(x: sparse.csr_matrix, fill_values: list[float]) -> Block:
    rows = np.arange(x.shape[0])
    classes = np.zeros(0 if not fill_values else x.shape[0], dtype=np.int64)
    zeros = np.array([fill_values] if fill_values else [], dtype=np.float64).reshape(-1, x.shape[1])
    return Block(rows, x.indptr.astype(np.int64), x.indices, x.data.astype(float), x.shape[1], zeros, classes)


def joined(block: Block, *, full: bool) -> np.ndarray:
    found = np.full((block.n_rows, block.n_columns), np.nan)
    for rows, (indptr, indices, values) in block.entries(full=full):
        part = found[rows]
        part[np.repeat(np.arange(len(part)), np.diff(indptr)), indices] = values
    return found


@pytest.mark.parametrize("cells", [1, 20, 2**20])
@pytest.mark.parametrize("fill_values", [[], [0.5, -1, 2, 0, 1, 7]], ids=["zeros", "others"])
def test_all_entries_come_in_parts_and_those_stored_at_once(monkeypatch, fill_values, cells):
    monkeypatch.setattr(blocks, "DENSE_CELLS", cells)
    x = counts(9, 6)
    block = of(x, fill_values)
    np.testing.assert_array_equal(joined(block, full=True), block.toarray())
    np.testing.assert_array_equal(np.nan_to_num(joined(block, full=False)), x.toarray())


@pytest.mark.parametrize("reduction", [TopSums, GroupWelford])
def test_reductions_do_not_depend_on_how_many_rows_are_made_dense_at_once(monkeypatch, reduction):
    argument = ([2, 5],) if reduction is TopSums else (np.arange(30) % 3, 3)
    found = []
    for cells in (1, 2**20):
        monkeypatch.setattr(blocks, "DENSE_CELLS", cells)
        x = oom(counts(30, 12)).transform(Elementwise("add", 1.0))
        result = compute(x, reduction(*argument))
        found.append(result if reduction is TopSums else np.stack([result.mean, result.var]))
    np.testing.assert_array_equal(*found)
