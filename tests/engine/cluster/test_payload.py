from __future__ import annotations

import gc
import threading

import anndata as ad
import numpy as np
import pytest
import scanpy as sc

from scanpy_oom.engine.cluster.payload import (
    PIECE,
    Payload,
    joined,
    live_tokens,
    opened,
    packed,
    pieces,
    token,
    uses_values_of_client,
)
from scanpy_oom.engine.request import Request
from scanpy_oom.matrix import OOMMatrix
from scanpy_oom.reductions import AxisStatistics, GroupMoments
from scanpy_oom.settings import settings
from scanpy_oom.storage.sources.memory import MemorySource

from ...matrices import counts, dense


def payload(*requests: Request, **fields) -> Payload:
    how = {"cache": True, "reuse": False, "memory_limit": None, "client": ("here", 1)}
    return Payload(*packed(requests), **(how | fields))


def again(sent: Payload, sources) -> list[Request]:
    """The requests as a worker opens them."""
    return opened(joined(list(pieces(sent))), lambda name: sources[name])


def test_what_is_sent_comes_out_as_it_was_with_one_source_for_all(read):
    adata = read()
    sc.pp.log1p(adata)
    few = adata.X.select(np.arange(10, 60), np.arange(50))
    codes = np.arange(50) % 3
    sent = payload(Request(few, [GroupMoments(codes, 3)]), Request(few, [AxisStatistics()]))
    assert list(sent.sources) == [token(adata.X.source)]
    source = read().X.source
    first, second = again(sent, {token(adata.X.source): source})
    assert first.matrix.source is second.matrix.source is source
    np.testing.assert_array_equal(dense(first.matrix), dense(few))
    np.testing.assert_array_equal(first.reductions[0].spec.codes, codes)


def test_what_is_known_of_columns_is_sent_and_copies_and_what_is_known_of_rows_are_not(read):
    x = read().X
    x.sum()
    assert {"row_sum", "col_sum"} <= x.statistics.known.keys()
    (request,) = again(payload(Request(x, [AxisStatistics()])), {token(x.source): x.source})
    known = request.matrix.statistics.known
    assert "col_nnz" in known
    assert "row_sum" not in known
    assert x.copies.narrowest(None) is not None
    assert request.matrix.copies.narrowest(None) is None


def test_a_large_payload_is_cut_into_pieces_that_the_scheduler_takes():
    x = OOMMatrix.from_source(MemorySource(counts(2, 3)))
    codes = np.random.default_rng(0).integers(0, 2**62, 2**20)
    sent = payload(Request(x, [GroupMoments(codes, 3)]))
    cut = list(pieces(sent))
    assert len(cut) > 1
    assert all(len(piece) <= PIECE for piece in cut)
    assert joined(cut) == sent


def test_what_cannot_be_pickled_says_so(read):
    reduction = AxisStatistics()
    reduction.lock = threading.Lock()
    with pytest.raises(TypeError, match="pickle"):
        packed([Request(read().X, [reduction])])


def test_a_source_has_one_name_for_as_long_as_it_lives(read):
    adata = read()
    name = token(adata.X.source)
    assert token(adata.X.source) == name
    assert name in live_tokens()
    assert name != token(read().X.source)
    del adata
    gc.collect()
    assert name not in live_tokens()


def test_a_payload_knows_the_sources_of_all_that_came_before_it(read):
    adata = read()
    name = token(adata.X.source)
    first, second = (payload(Request(adata.X, [AxisStatistics()])) for _ in range(2))
    assert first.number < second.number
    assert name in first.live & second.live


def test_names_may_be_given_while_others_are_counted(read):
    x, stop = read().X, threading.Event()
    sources = [MemorySource(np.ones((1, 1))) for _ in range(5000)]

    def count():
        while not stop.is_set():
            live_tokens()

    counting = threading.Thread(target=count)
    counting.start()
    try:
        names = {token(source) for source in (*sources, x.source)}
    finally:
        stop.set()
        counting.join()
    assert len(names) == 5001


def test_values_in_memory_and_scratch_are_those_of_the_client(read, path):
    assert not uses_values_of_client(read().X.source)
    assert uses_values_of_client(MemorySource(counts(3, 3)))
    patched = read()
    patched.X[0, 0] = 7
    assert uses_values_of_client(patched.X.source)
    settings.read = "asked"
    both = ad.concat([read(), read()], index_unique="-")
    assert not uses_values_of_client(both.X.source)
    other = read()
    other.X = OOMMatrix.from_source(MemorySource(counts(5000, 80)))
    assert uses_values_of_client(ad.concat([read(), other], index_unique="-").X.source)
