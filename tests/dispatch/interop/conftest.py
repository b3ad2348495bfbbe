from __future__ import annotations

import anndata as ad
import pytest

from .examples import example, written


@pytest.fixture
def path(tmp_path):
    return written(tmp_path, example())


@pytest.fixture
def data(path):
    return pytest.importorskip("anndataoom").read(path)


@pytest.fixture
def memory(path):
    return ad.read_h5ad(path)
