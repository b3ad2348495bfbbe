"""Runs a script or a module with every `read_h5ad` out of memory: ``python -m scanpy_oom script.py``."""

from __future__ import annotations

import argparse
import builtins
import os
import runpy
import sys
import tempfile
from importlib.machinery import SourceFileLoader
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING
from zipfile import is_zipfile

import scanpy_oom
from scanpy_oom import __version__, enable, settings

if TYPE_CHECKING:
    from types import TracebackType

__all__ = ["main"]

_DESCRIPTION = """\
Run a Python script or module, unchanged, with each file that it reads with read_h5ad of scanpy or anndata, or with
sc.read, left on disk, as if `backed="oom"` had been given. Calls that name another `backed` are left alone: with
`backed=False` a file is read into memory. Matrices that anndata.io.read_elem reads from an HDF5 file that is open for
reading alone stay on disk, too. SCANPY_OOM_READ=always in the environment does the same. With --auto, and with
SCANPY_OOM_READ=auto, only files stay on disk that are too large for what scanpy usually does in memory. With --report,
a page on what was run out of memory and what it took is saved when the script ends, with an error or without. For
everything else there is the command scanpy-oom.
"""


def main(argv: list[str]) -> None:
    """Run what the command line names, as ``python`` would.

    Parameters
    ----------
    argv
        The arguments of ``python -m scanpy_oom``.

    Raises
    ------
    SystemExit
        With status 2 if there is nothing to run or no place for the report, 1 if there is no such module or the report
        could not be saved in the end; and whenever the script raises it.
    """
    parser = argparse.ArgumentParser(
        prog="python -m scanpy_oom",
        usage="%(prog)s [-h] [--version] [--auto] [--report FILE.html] [--graph {scanpy,fast}] "
        "(-m MODULE | SCRIPT) [ARGUMENT ...]",
        description=_DESCRIPTION,
    )
    parser.add_argument("--version", action="version", version=f"scanpy-oom {__version__}")
    parser.add_argument("--auto", action="store_true", help="leave those files alone on disk that are too large")
    parser.add_argument("--report", type=_place, metavar="FILE.html", help="page to save (scanpy_oom.report())")
    parser.add_argument("--graph", choices=["scanpy", "fast"], help="who searches neighbours (settings.graph)")
    parser.add_argument("-m", dest="module", nargs=argparse.REMAINDER, help="a module to run, and its arguments")
    parser.add_argument("script", nargs=argparse.REMAINDER, help="a script to run, and its arguments")
    options = parser.parse_args(argv)
    command = options.module or options.script
    if not command:
        parser.error("name a script, or a module with -m")
    enable()
    settings.read = "auto" if options.auto else "always"
    if options.graph:
        settings.graph = options.graph
    _hide_frames_above_the_script()
    sys.argv = command
    name, pid = Path(command[0]).name, os.getpid()
    try:
        (_run_module if options.module else _run_script)(command[0])
    except BaseException:
        if options.report and os.getpid() == pid:  # not where a fork of the script ends
            _save_report(options.report, name)
        raise
    if options.report and os.getpid() == pid and not _save_report(options.report, name):
        sys.exit(1)


def _place(text: str) -> Path:
    """Make sure that a file can be written there."""
    path = Path(text).resolve()
    if not path.parent.is_dir():
        msg = f"there is no folder {path.parent} to save {path.name} in"
        raise argparse.ArgumentTypeError(msg)
    if path.exists() and not path.is_file():
        msg = f"{path} is not a file, and not replaced by one"
        raise argparse.ArgumentTypeError(msg)
    try:
        with tempfile.TemporaryFile(dir=path.parent):
            return path
    except OSError as error:
        msg = f"the folder {path.parent} cannot be written to: {error.strerror}"
        raise argparse.ArgumentTypeError(msg) from error


def _save_report(path: Path, name: str) -> bool:
    report = scanpy_oom.report()
    try:
        report.to_html(path, title=name)
    except OSError as error:
        sys.stderr.write(f"scanpy-oom: the report could not be saved in {path}: {error.strerror}\n")
        return False
    n = report.tally.calls
    sys.stderr.write(f"scanpy-oom: the report of {n:,} call{'' if n == 1 else 's'} is in {path}\n")
    return True


def _run_module(name: str) -> None:
    try:
        found = find_spec(name) is not None
    except ModuleNotFoundError as error:  # of a package that holds it
        if error.name is None or not f"{name}.".startswith(f"{error.name}."):
            raise
        found = False
    if not found:
        sys.exit(f"{sys.executable}: No module named {name}")
    runpy.run_module(name, run_name="__main__", alter_sys=True)


def _run_script(name: str) -> None:
    path = Path(name)
    if not path.exists():
        sys.stderr.write(f"{sys.executable}: can't open file {str(path.absolute())!r}: No such file or directory\n")
        sys.exit(2)
    if path.is_dir() or path.suffix == ".pyc" or is_zipfile(path):
        runpy.run_path(name, run_name="__main__")
        return
    if not sys.flags.safe_path:
        sys.path[0] = str(path.resolve().parent)
    # Not by runpy, which takes the script's module away before the interpreter has ended.
    module = ModuleType("__main__")
    module.__file__ = str(path.absolute())
    module.__loader__ = SourceFileLoader("__main__", module.__file__)
    vars(module).update(__builtins__=builtins, __cached__=None)
    sys.modules["__main__"] = module
    exec(compile(path.read_bytes(), module.__file__, "exec", dont_inherit=True), vars(module))


def _hide_frames_above_the_script() -> None:
    """Have tracebacks begin where they would if ``python`` ran the script."""
    show = sys.excepthook
    above = {__file__, runpy.__file__, "<frozen runpy>"}

    def excepthook(kind: type[BaseException], error: BaseException, traceback: TracebackType | None) -> None:
        while traceback is not None and traceback.tb_frame.f_code.co_filename in above:
            traceback = traceback.tb_next
        show(kind, error.with_traceback(traceback), traceback)

    sys.excepthook = excepthook


if __name__ == "__main__":
    main(sys.argv[1:])
