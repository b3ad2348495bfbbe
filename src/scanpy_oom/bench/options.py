"""The command line of the benchmark."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import OOMError
from ..settings import parse_bytes
from .backends import BACKENDS
from .recipe import FLAVORS, RECIPES, parse_steps

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["add_bench"]

_NAMES = tuple(BACKENDS)
_RUNNING = (
    "backends",
    "steps",
    "recipe",
    "flavor",
    "repeat",
    "cold",
    "memory_limit",
    "threads",
    "max_memory",
    "timeout",
)
"""Options about what is run."""


def add_bench(add_parser: Callable[..., argparse.ArgumentParser]) -> None:
    """Add the command ``bench``.

    Parameters
    ----------
    add_parser
        That of the commands.
    """
    parser = add_parser(
        "bench",
        help="compare backends step by step: memory, time, bytes read, results",
        description="Run one scanpy workflow through several backends, each in a process of its own, and leave tables "
        "(Markdown, CSV, JSON) and figures (PNG, SVG) of what each step took. A backend that fails, or that is stopped "
        "at a limit of memory or time, is listed with the reason. Without FILE, the matrices are realistic ones "
        "that are made for the run. Several files or sizes give a figure of how costs grow with cells.",
    )
    parser.add_argument("files", type=Path, nargs="*", metavar="FILE.h5ad", help="counts of your own, in X")
    made = parser.add_argument_group("matrices that are made without FILE")
    made.add_argument("--cells", type=_sizes, metavar="N[,N...]", help="numbers of cells (20000)")
    made.add_argument("--genes", type=_positive, metavar="N", help="number of genes (20000)")
    made.add_argument("--seed", type=_seed, metavar="S", help="seed of the random draws (0)")
    made.add_argument("--keep", action="store_true", help="leave the matrices in DIR")
    what = parser.add_argument_group("what is run")
    what.add_argument(
        "--backends", type=_backends, default=("memory", "oom"), metavar="NAME[,NAME...]",
        help=f"of {', '.join(_NAMES)} (memory,oom)",
    )  # fmt: skip
    what.add_argument("--steps", type=_steps, metavar="STEP[,STEP...]", help="instead of all, from read to write")
    what.add_argument(
        "--recipe", choices=RECIPES, default="scanpy", help="arguments of the steps: the usual ones, or those of "
        "AnnDataOOM's tutorial (%(default)s)",
    )  # fmt: skip
    what.add_argument("--flavor", choices=FLAVORS, help="how variable genes are chosen, instead of the recipe's")
    what.add_argument("--repeat", type=_positive, default=1, metavar="N", help="runs of each backend (%(default)s)")
    what.add_argument(
        "--cold",
        action="store_true",
        help="skip the warm-up run on a sample of the cells, which compiles kernels beforehand",
    )
    limits = parser.add_argument_group("limits")
    limits.add_argument("--memory-limit", type=_size, metavar="SIZE", help="limit of scanpy-oom, budget of CyteArc")
    limits.add_argument("--threads", type=_positive, metavar="N", help="threads of all backends")
    limits.add_argument("--max-memory", type=_size, metavar="SIZE", help="stop a backend that takes more")
    limits.add_argument("--timeout", type=_duration, metavar="SECONDS", help="stop a backend that takes longer")
    parser.add_argument(
        "--out", type=Path, default=Path("scanpy-oom-bench"), metavar="DIR", help="folder for the results (%(default)s)"
    )
    parser.add_argument(
        "--join",
        action="store_true",
        help="run nothing: FILE are results.json of earlier benchmarks, whose tables and figures are drawn together",
    )
    parser.set_defaults(run=lambda args: _bench(args, parser))


def _bench(args: argparse.Namespace, parser: argparse.ArgumentParser) -> int:
    made = {"cells": args.cells, "genes": args.genes, "seed": args.seed, "keep": args.keep or None}
    made = {name: value for name, value in made.items() if value is not None}
    if args.files and made:
        parser.error("--cells, --genes, --seed and --keep are for data made without FILE; omit them, or omit FILE")
    if args.join and not args.files:
        parser.error("--join needs the results.json of earlier benchmarks")
    if args.join and (given := [name for name in _RUNNING if getattr(args, name) != parser.get_default(name)]):
        unused = ", ".join(f"--{name.replace('_', '-')}" for name in given)
        parser.error(f"--join only draws results of earlier benchmarks, and cannot be combined with {unused}")
    names = [file.stem for file in args.files]
    if not args.join and len(set(names)) < len(names):
        parser.error("two files have the same name (without folder and suffix); rename one of them")

    from .data import UnsuitableInput
    from .main import Options, draw, run_bench
    from .results import Results
    from .watch import Limits

    try:
        if args.join:
            draw(Results.join([Results.read_json(file) for file in args.files]), args.out)
            return 0
        options = Options(
            files=args.files,
            backends=args.backends,
            recipe=RECIPES[args.recipe].with_flavor(args.flavor),
            repeat=args.repeat,
            limits=Limits(args.max_memory and parse_bytes(args.max_memory), args.timeout),
            memory_limit=args.memory_limit,
            threads=args.threads,
            cold=args.cold,
            out=args.out,
            **made,
            **({"steps": args.steps} if args.steps else {}),
        )
        return run_bench(options)
    except (UnsuitableInput, OOMError, OSError, ValueError) as error:
        sys.stderr.write(f"scanpy-oom bench: {error}\n")
        return 2


def _backends(text: str) -> tuple[str, ...]:
    names = tuple(dict.fromkeys(name.strip() for name in text.split(",") if name.strip()))
    if unknown := [name for name in names if name not in BACKENDS]:
        msg = f"there is no backend {', '.join(map(repr, unknown))}; there are {', '.join(_NAMES)}"
        raise argparse.ArgumentTypeError(msg)
    if not names:
        msg = f"name at least one of {', '.join(_NAMES)}"
        raise argparse.ArgumentTypeError(msg)
    return names


def _steps(text: str) -> tuple[str, ...]:
    try:
        return parse_steps(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def _sizes(text: str) -> tuple[int, ...]:
    return tuple(dict.fromkeys(_positive(part) for part in text.split(",")))


def _positive(text: str) -> int:
    return _whole(text, 1, "positive whole number")


def _seed(text: str) -> int:
    return _whole(text, 0, "whole number from 0 on")


def _whole(text: str, least: int, what: str) -> int:
    if not text.strip().isdecimal() or int(text) < least:
        msg = f"{text!r} is no {what}"
        raise argparse.ArgumentTypeError(msg)
    return int(text)


def _duration(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1
    if not 0 < seconds < float("inf"):
        msg = f"{text!r} is no positive number of seconds"
        raise argparse.ArgumentTypeError(msg)
    return seconds


def _size(text: str) -> str:
    try:
        parse_bytes(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error
    return text
