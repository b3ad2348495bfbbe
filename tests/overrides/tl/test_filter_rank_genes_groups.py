from __future__ import annotations

import numpy as np
import pytest
import scanpy as sc

from ...comparison import assert_same_outcome, passes_of
from ...matrices import counts, pair

RANKINGS = [{}, {"pts": True}, {"reference": "k1"}, {"use_raw": False}, {"n_genes": 7, "key_added": "markers"}]
ARGUMENTS = [
    {},
    {"min_in_group_fraction": 0.1, "max_out_group_fraction": 0.9, "min_fold_change": 0.1},
    {"compare_abs": True, "min_fold_change": 0.2},
    {"key_added": "few"},
    {"use_raw": False},
    {"groupby": "kind"},
]


def ranked(**arguments):
    def before(adata):
        sc.pp.log1p(adata)
        adata.raw = adata.copy()
        sc.tl.rank_genes_groups(adata, "kind", method="t-test", **arguments)

    return before


@pytest.mark.parametrize("ranking", RANKINGS, ids=str)
@pytest.mark.parametrize("arguments", ARGUMENTS, ids=str)
def test_filtered_rankings_are_scanpy_s_for_all_arguments(arguments, ranking):
    key = {"key": "markers"} if "key_added" in ranking else {}
    call = lambda adata: sc.tl.filter_rank_genes_groups(adata, **key, **arguments)
    assert_same_outcome(call, counts(60, 30), before=ranked(**ranking), rtol=1e-5)


def test_it_takes_one_pass_and_none_if_the_ranking_tells():
    for arguments, n in (({}, 1), ({"pts": True}, 0)):
        lazy = pair(counts(60, 30))[1]
        ranked(**arguments)(lazy)
        assert passes_of(lambda lazy=lazy: sc.tl.filter_rank_genes_groups(lazy)) == n


def test_overlap_of_markers_reads_nothing():
    lazy = pair(counts(60, 30))[1]
    ranked()(lazy)
    found = []
    assert (
        passes_of(lambda: found.append(sc.tl.marker_gene_overlap(lazy, {"a": ["gene1", "gene3"], "b": ["gene4"]}))) == 0
    )
    memory = pair(counts(60, 30))[0]
    ranked()(memory)
    np.testing.assert_array_equal(
        found[0], sc.tl.marker_gene_overlap(memory, {"a": ["gene1", "gene3"], "b": ["gene4"]})
    )
