"""Runs random chains of calls in memory and out of memory, and shows what differs.

``python -m tests.fuzz.chains START SECONDS [OUT.jsonl]`` runs chains from a number on, for some seconds, writes each
difference as a line, and counts. ``python -m tests.fuzz.chains --replay SEED`` shows one chain, step by step.
"""

from __future__ import annotations

import collections
import copy
import json
import logging
import sys
import tempfile
import time
import traceback
import warnings
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import anndata as ad
import numpy as np
import scanpy as sc
from scipy import sparse

import scanpy_oom
from scanpy_oom.matrix import OOMMatrix

from .compare import EXACT, differences
from .data import Files, graph, made, put_in_order
from .drawing import Draw
from .known import described, known
from .objects import next_statements
from .terms import Name, Statement

__all__ = ["Chain", "run", "script"]

Find = dict[str, Any]
"""What differs: `seed`, `hist` (the code so far), `op` (that of the last call), `kind`, `diffs`, and the `matrices`
before that call and as they were `read`. `in_order` says whether it is gone where entries are put in order first."""

HEAD = """\
import copy
import anndata as ad, numpy as np, scanpy as sc
from scipy import sparse
from tests.fuzz.data import Files, graph

files = Files(".", backed="oom")  # None: in memory
adata = files.made({seed})"""


@dataclass
class Chain:
    """What came of a chain.

    Parameters
    ----------
    seed
        Its number.
    """

    seed: int
    code: list[str] = field(default_factory=list)
    finds: list[Find] = field(default_factory=list)
    matrices: dict[str, str] = field(default_factory=dict)
    has_failed: bool = False
    is_over: bool = False

    def add(self, kind: str, diffs: list[str]) -> None:
        """Add what differs after the last call."""
        if not diffs:
            return
        find: Find = {"seed": self.seed, "hist": [*self.code], "op": self.code[-1] if self.code else "READ"}
        find |= {"kind": kind, "diffs": diffs, "matrices": self.matrices, "read": described(made(self.seed))}
        self.finds.append(find)

    @property
    def faults(self) -> list[Find]:
        """What differs and should not."""
        return [find for find in self.finds if not find.get("known")]

    @property
    def status(self) -> str:
        """One word."""
        if self.finds:
            return "different" if self.faults else "known"
        return "failed alike" if self.has_failed else "same"

    def __str__(self) -> str:
        lines = [f"chain {self.seed}: {self.status}", "", script(self.seed, self.code), ""]
        for find in self.finds:
            reason = f" (meant: {find['known']})" if find.get("known") else ""
            lines += [f"{find['kind']}{reason}", *(f"  {text}" for text in find["diffs"][:6])]
        return "\n".join(lines)


def script(seed: int, code: list[str]) -> str:
    """Return a chain as code that can be pasted."""
    return "\n".join([HEAD.format(seed=seed), *code])


def run(seed: int, *, show: bool = False) -> Chain:
    """Run one chain in memory and out of memory, up to the first call after which they differ.

    Parameters
    ----------
    seed
        Its number, which decides everything.
    show
        Print each step.
    """
    chain = _run(seed, show=show)
    words = " ".join(described(made(seed)).values()) if chain.finds else ""
    is_odd = "repeated" in words or "unsorted" in words
    in_order = _run(seed, in_order=True) if is_odd else None
    for find in chain.finds:
        find["in_order"] = in_order is not None and all(other["hist"] != find["hist"] for other in in_order.finds)
        find["known"] = known(find)
    return chain


def _run(seed: int, *, show: bool = False, in_order: bool = False) -> Chain:
    """Run one chain; with entries of each row in order, and once each, in memory too, if they are to be."""
    chain = Chain(seed)
    with tempfile.TemporaryDirectory(prefix="chain", ignore_cleanup_errors=True) as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        both = [_names(seed, Files(folder, backed)) for backed in (None, "oom")]
        if in_order:
            put_in_order(both[0]["adata"])
        chain.add("read", differences(both[0]["adata"], both[1]["adata"]))
        if show:
            print(script(seed, []), "\n   ", described(both[0]["adata"]))
        rng = np.random.default_rng([seed, 2])
        for _ in range(int(rng.integers(1, 9))):
            for statement in next_statements(Draw(rng, both[0]["adata"])):
                if chain.finds or chain.is_over:
                    return chain
                _step(chain, statement, *both, show=show)
    return chain


def _names(seed: int, files: Files) -> dict[str, Any]:
    """Return the variables of a chain."""
    modules = {"ad": ad, "copy": copy, "np": np, "sc": sc, "sparse": sparse, "repr": repr}
    return {**modules, "graph": graph, "files": files, "adata": files.made(seed)}


def _step(chain: Chain, statement: Statement, memory: dict[str, Any], lazy: dict[str, Any], *, show: bool) -> None:
    """Run one statement on both sides, and add what differs."""
    chain.code.append(str(statement))
    chain.matrices = described(memory["adata"])
    try:
        before = lazy["adata"].copy()
    except Exception as error:  # noqa: BLE001 - whatever it is, it is a find
        if _text(error) != _text(_error_of(Statement(Name("adata").copy(), Name("out")), memory) or Exception()):
            chain.add("copyfail", [_text(error)])
        chain.is_over = True  # anndata itself has left what cannot be copied
        return
    want, got = (_error_of(statement, names) for names in (memory, lazy))
    if show:
        print(
            f"{statement}  # {chain.matrices}",
            *(f"\n    {who}: {_text(e)}" for who, e in (("memory", want), ("lazy", got)) if e),
        )
    if want is None and got is None:
        found = differences(memory["adata"], lazy["adata"]) + differences(memory["out"], lazy["out"], "out")
        chain.add("values", found)
    elif want is None or got is None:
        error = want or got
        assert error is not None
        chain.add("mem-raises" if got is None else "oom-raises", [_text(error), _place(error)])
    else:
        chain.has_failed = True
        if type(want) is not type(got):
            chain.add("errtype", [f"mem {_text(want)} | oom {_text(got)}"])
        changed = differences(before, _own(lazy["adata"]), tolerance=EXACT)
        if _holds_arrays(lazy["adata"]) and not differences(memory["adata"], lazy["adata"]):
            changed = []  # scanpy itself worked on what is in memory on both sides, and left this behind
        chain.add("changed-after-error", [*changed, _text(got)] if changed else [])
        half_done = differences(before, _own(memory["adata"])) or memory["adata"].is_view != lazy["adata"].is_view
        chain.is_over = bool(half_done)  # by scanpy: here, a call that fails leaves all as it was


def _holds_arrays(adata: ad.AnnData) -> bool:
    """Tell whether some matrix is in memory."""
    matrices = [adata.X, *adata.layers.values(), *([] if adata.raw is None else [adata.raw.X])]
    return not all(isinstance(x, OOMMatrix) for x in matrices if x is not None)


def _own(adata: ad.AnnData) -> ad.AnnData:
    """Return what is no view, to be compared with a copy."""
    return adata.copy() if adata.is_view else adata


def _error_of(statement: Statement, names: dict[str, Any]) -> Exception | None:
    """Run a statement; return what it raised."""
    names["out"] = None
    np.random.seed(0)  # functions of scanpy draw from it
    try:
        statement.run(names)
    except Exception as error:  # noqa: BLE001 - which errors these are is what is compared
        return error
    return None


def _text(error: Exception) -> str:
    return f"{type(error).__name__}: {str(error)[:300]}"


def _place(error: Exception) -> str:
    return "".join(traceback.format_tb(error.__traceback__)[-2:])[-500:]


def main(arguments: list[str]) -> int:
    """Run what the command line asks for."""
    logging.disable(logging.WARNING)
    sc.settings.verbosity = 0
    if arguments[:1] == ["--replay"] and len(arguments) == 2:
        chain = run(int(arguments[1]), show=True)
        print(f"\n{chain}")
        return bool(chain.faults)
    if len(arguments) not in {2, 3}:
        print(__doc__)
        return 2
    start, seconds = int(arguments[0]), float(arguments[1])
    counts: collections.Counter[str] = collections.Counter()
    end, seed, statements = time.monotonic() + seconds, start, 0
    while time.monotonic() < end:
        chain = run(seed)
        counts[chain.status] += 1
        statements += len(chain.code)
        if chain.faults:
            print(chain, "\n", flush=True)
        if len(arguments) == 3 and chain.finds:
            with Path(arguments[2]).open("a", encoding="utf-8") as file:
                file.writelines(json.dumps(find, default=str) + "\n" for find in chain.finds)
        seed += 1
    print(f"scanpy-oom {scanpy_oom.__version__}, scanpy {sc.__version__}, anndata {ad.__version__}")
    print(f"chains {start} to {seed - 1}, {statements} statements: {dict(counts)}")
    return bool(counts["different"])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
