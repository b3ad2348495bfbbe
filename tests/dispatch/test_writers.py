from __future__ import annotations

import anndata as ad
import numpy as np
import pytest
import scanpy as sc

from scanpy_oom.passes.write import Write

from ..matrices import annotated, counts, dense


@pytest.fixture
def path(tmp_path):
    annotated(counts(300, 20)).write_h5ad(tmp_path / "a.h5ad", compression="gzip")
    return tmp_path / "a.h5ad"


@pytest.mark.parametrize("write", [lambda a, p: a.write_h5ad(p), lambda a, p: sc.write(p, a), lambda a, p: a.write(p)])
def test_the_file_that_is_being_read_may_be_written_to(path, write):
    a = sc.read_h5ad(path, backed="oom")
    sc.pp.log1p(a)
    a = a[::2]
    want = dense(a.X)
    write(a, path)
    np.testing.assert_array_equal(dense(ad.read_h5ad(path).X), want)
    np.testing.assert_array_equal(dense(a.X), want)
    assert [p.name for p in path.parent.iterdir()] == ["a.h5ad"]


def test_a_write_that_fails_leaves_the_old_file_and_no_litter(path, monkeypatch):
    before = path.read_bytes()
    a = sc.read_h5ad(path, backed="oom")

    def fail(*args):
        raise KeyboardInterrupt

    monkeypatch.setattr(Write, "update", fail)
    with pytest.raises(KeyboardInterrupt):
        a.write_h5ad(path)
    assert path.read_bytes() == before
    assert [p.name for p in path.parent.iterdir()] == ["a.h5ad"]


def test_what_would_be_made_dense_is_refused_and_not_ignored(path):
    a = sc.read_h5ad(path, backed="oom")
    with pytest.raises(ValueError, match="as_dense"):
        a.write_h5ad(path.with_name("b.h5ad"), as_dense=["X"])


def test_what_is_in_memory_is_written_as_ever(path):
    a = ad.read_h5ad(path)
    a.write_h5ad(path.with_name("b.h5ad"), as_dense=["X"])
    assert isinstance(ad.read_h5ad(path.with_name("b.h5ad")).X, np.ndarray)
