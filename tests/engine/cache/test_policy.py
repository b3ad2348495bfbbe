"""A pass for whose compact copy there is no room goes on, and says so once."""

from __future__ import annotations

import errno
import subprocess
import sys

import pytest

from ...matrices import counts

_FULL = """
import resource, sys
import scanpy as sc
from scanpy_oom.engine.cache import policy
policy.IN_MEMORY = 0
sc.read_h5ad(sys.argv[1], backed="oom").X.sum()  # kernels may be compiled, and stored
adata = sc.read_h5ad(sys.argv[1], backed="oom")
resource.setrlimit(resource.RLIMIT_FSIZE, (5000, 5000))
total = float(adata.X.sum())
print(total, list(adata.X.copies), float(adata[:, 3:9].X.sum()))
"""


def test_a_full_scratch_disk_costs_the_stage_alone(path):
    out = subprocess.run([sys.executable, "-c", _FULL, path], capture_output=True, text=True, check=True)
    total, rest = out.stdout.split(" ", 1)
    assert float(total) == counts(3000, 80).sum()
    assert rest.strip() == f"[] {counts(3000, 80)[:, 3:9].sum()}"
    assert "scanpy-oom keeps no compact copy" in out.stderr


_FULL_FOR_SOME = """
import errno, os, sys
import scanpy as sc
from scanpy_oom.engine.cache import policy
from scanpy_oom.settings import settings
policy.IN_MEMORY = 0
settings.n_threads = 4
pwrite, calls = os.pwrite, []
def some_fail(*arguments):
    calls.append(1)
    if len(calls) % 3 == 0:
        raise OSError(int(sys.argv[2]), "planted")
    return pwrite(*arguments)
os.pwrite = some_fail
adata = sc.read_h5ad(sys.argv[1], backed="oom")
print(float(adata.X.sum()), list(adata.X.copies))
adata[:, 3:9].X.sum()
"""


@pytest.mark.parametrize("error", [errno.ENOSPC, errno.EIO])
def test_threads_that_fail_to_write_while_others_do_not_cost_the_stage_alone_and_one_warning(path, error):
    command = [sys.executable, "-c", _FULL_FOR_SOME, path, str(error)]
    out = subprocess.run(command, capture_output=True, text=True, check=True)
    assert out.stdout.strip() == f"{counts(3000, 80).sum()} []"
    assert out.stderr.count("scanpy-oom keeps no compact copy") == 1
