"""An import that is interrupted does no harm to later calls."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = """
import os, signal, sys, warnings
warnings.simplefilter("ignore")
import scanpy as sc, scanpy_oom
scanpy_oom.enable()
signal.signal(signal.SIGINT, signal.default_int_handler)
path, target = sys.argv[1:]

class Interrupts:
    def find_spec(self, name, path=None, of=None):
        if name == target and self in sys.meta_path:
            sys.meta_path.remove(self)
            os.kill(os.getpid(), signal.SIGINT)

adata = sc.read_h5ad(path, backed="oom")
sys.meta_path.insert(0, Interrupts())
try:
    sc.pp.combat(adata, "kind")
except KeyboardInterrupt:
    print("interrupted")
sc.pp.combat(adata, "kind")
print(adata.X.shape)
"""


@pytest.mark.parametrize("target", ["scanpy_oom.overrides.pp._combat", "patsy.contrasts"])
def test_a_function_works_after_the_import_of_what_it_needs_was_interrupted(target: str, h5ad: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(h5ad), target], capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr
    said = done.stdout.split()
    assert "interrupted" in said
    assert said[-2:] == ["(90,", "55)"], done.stdout
