"""The command ``scanpy-oom``."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from . import __version__
from .bench.options import add_bench
from .errors import OOMError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

__all__ = ["main"]


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line.

    Parameters
    ----------
    argv
        The arguments; those of the process if `None`.

    Returns
    -------
    The exit code: 0 if all went well, 1 if something failed or results disagree, 2 if the input is at fault,
    130 if it was interrupted.
    """
    parser = argparse.ArgumentParser(
        prog="scanpy-oom", description='Scanpy out of memory: sc.read_h5ad(path, backed="oom").'
    )
    parser.add_argument("--version", action="version", version=f"scanpy-oom {__version__}")
    commands = parser.add_subparsers(title="commands", required=True)
    _add_demo(commands.add_parser)
    add_bench(commands.add_parser)
    args = parser.parse_args(argv)
    try:
        return args.run(args)
    except KeyboardInterrupt:
        sys.stderr.write("\nscanpy-oom: interrupted\n")
        return 130  # as shells have it


def _add_demo(add_parser: Callable[..., argparse.ArgumentParser]) -> None:
    parser = add_parser(
        "demo",
        help="run a scanpy workflow in memory and out of memory, and compare",
        description="Run one scanpy workflow in memory and out of memory, each in its own process; print seconds and "
        "peak memory of each step, say whether the results agree, and save a figure. "
        "Without FILE, on a realistic matrix of counts that is made for it.",
    )
    parser.add_argument("file", type=Path, nargs="?", metavar="FILE.h5ad", help="counts of your own, in X")
    made = parser.add_argument_group("the matrix that is made without FILE")
    made.add_argument("--cells", type=int, metavar="N", help="number of cells (20000)")
    made.add_argument("--genes", type=int, metavar="N", help="number of genes (20000)")
    made.add_argument("--seed", type=int, metavar="S", help="seed of the random draws (0)")
    made.add_argument("--keep", action="store_true", help="leave the matrix in DIR")
    parser.add_argument(
        "--out", type=Path, default=Path("scanpy-oom-demo"), metavar="DIR", help="folder for the results (%(default)s)"
    )
    parser.set_defaults(run=lambda args: _demo(args, parser))


def _demo(args: argparse.Namespace, parser: argparse.ArgumentParser) -> int:
    cells = None if args.cells is None else (args.cells,)
    made = {"cells": cells, "genes": args.genes, "seed": args.seed, "keep": args.keep or None}
    made = {name: value for name, value in made.items() if value is not None}
    if args.file is not None and made:
        parser.error("--cells, --genes, --seed and --keep are about the matrix that is made without FILE")

    from .bench.data import UnsuitableInput
    from .bench.main import Options
    from .demo.main import run_demo

    try:
        return run_demo(Options(files=[] if args.file is None else [args.file], out=args.out, **made))
    except (UnsuitableInput, OOMError, OSError) as error:
        sys.stderr.write(f"scanpy-oom demo: {_reason(error)}\n")
        return 2


def _reason(error: Exception) -> str:
    """Return what an error says, without the number of the system's error."""
    said = getattr(error, "strerror", None) or str(error)
    file = getattr(error, "filename", None)
    return said if file is None or str(file) in said else f"{said}: {file}"


if __name__ == "__main__":
    sys.exit(main())
