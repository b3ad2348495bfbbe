from __future__ import annotations

import pytest

from ...matrices import annotated, counts


@pytest.fixture
def path(tmp_path):
    adata = annotated(counts(3000, 80))
    adata.write_h5ad(tmp_path / "a.h5ad", compression="gzip")
    return tmp_path / "a.h5ad"
