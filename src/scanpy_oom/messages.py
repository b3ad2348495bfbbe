"""Log messages and warnings, with the line of the user's code that caused them.

Messages go to scanpy's logger where scanpy is loaded, and to the standard logger ``"scanpy_oom"`` where it is not:
nothing is imported to say something.
"""

from __future__ import annotations

import linecache
import logging
import sys
import sysconfig
import warnings
from contextvars import ContextVar
from functools import cache
from pathlib import Path
from types import FunctionType, ModuleType
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from types import FrameType
    from typing import TypeVar

    T = TypeVar("T")

__all__ = [
    "Place",
    "asked_by_library",
    "info",
    "is_silent",
    "place",
    "remark",
    "remarks",
    "telling_user",
    "warn_user",
    "warning",
]

_BETWEEN = (
    "scanpy_oom",
    "scanpy",
    "anndata",
    "legacy_api_wrap",
    "typing_extensions",
    "warnings",
    "functools",
    "contextlib",
    "pluggy",
)
"""Packages whose frames lie between what is found and the user's line, wherever they are installed."""

_OWN = str(Path(__file__).parent)
_STANDARD = sysconfig.get_path("stdlib")
_INSTALLED = ("site-packages", "dist-packages")
_LONGEST = 80
"""Letters of a line of code that are quoted."""


class Place(NamedTuple):
    """A line of the user's code, and which library it was that it called.

    Parameters
    ----------
    file
        Name of the file, as it is to be shown.
    line
        Number of the line; 0 where there is no code of the user's, as in the thread of a library.
    code
        What stands there; empty where that is not known.
    library
        File and line of the library that is between that line and ours; empty where there is none.
    """

    file: str
    line: int
    code: str = ""
    library: str = ""

    def __str__(self) -> str:
        return f"{self.file}, line {self.line}" if self.line else self.library

    @property
    def quoted(self) -> str:
        """The line with what stands there, as far as that is known."""
        return f"{self}: `{self.code}`" if self.code else str(self)


def place() -> Place | None:
    """Find the line of the user's code that called what runs now; none where nothing but our code is seen.

    That is the innermost one outside of installed packages and of Python's own library. The library that is named is
    the one that called ours.
    """
    frame: FrameType | None = sys._getframe(1)
    library = ""
    while frame is not None:
        kind = _kind(frame.f_code.co_filename, frame.f_globals.get("__name__", ""))
        if kind == "user":
            return _at(frame, library)
        if kind == "library" and not library:
            library = f"{_short(frame.f_code.co_filename)}:{frame.f_lineno}"
        frame = frame.f_back
    return Place("", 0, library=library) if library else None


def asked_by_library() -> bool:
    """Return whether the function that calls this was called by an installed library, and not by the user's code."""
    frame = sys._getframe(2)
    return _kind(frame.f_code.co_filename, frame.f_globals.get("__name__", "")) == "library"


def _at(frame: FrameType, library: str) -> Place:
    file, line = frame.f_code.co_filename, frame.f_lineno
    code = linecache.getline(file, line, frame.f_globals).strip()
    return Place(_shown(file), line, code if len(code) <= _LONGEST else f"{code[: _LONGEST - 4]} ...", library)


@cache
def _kind(file: str, module: str) -> str:
    """Tell whose code a file is: our own, that of a library, of Python's own one, or the user's."""
    if file.startswith(_OWN) or module.partition(".")[0] == "scanpy_oom":
        return "own"
    parts = Path(file).parts
    if any(part in parts for part in _INSTALLED) or module.partition(".")[0] in ("scanpy", "anndata"):
        return "library"
    return "standard" if file.startswith(("<frozen", _STANDARD)) else "user"


def _short(file: str) -> str:
    """Name a file of a library from its package on."""
    parts = Path(file).parts
    for name in _INSTALLED:
        if name in parts:
            return "/".join(parts[len(parts) - parts[::-1].index(name) :])
    return "/".join(parts[-2:])


def _shown(file: str) -> str:
    """Name a file of the user's: below the working directory if it is there, and a notebook's cell by its number."""
    ipython = sys.modules.get("IPython")
    shell = None if ipython is None else ipython.get_ipython()
    named = getattr(getattr(shell, "compile", None), "format_code_name", lambda _: None)(file)
    if named:
        return " ".join(named)
    try:
        return str(Path(file).relative_to(Path.cwd()))
    except (ValueError, OSError):  # elsewhere, or there is no working directory any more
        return file


def warn_user(message: str, category: type[Warning] = UserWarning) -> None:
    """Warn at the line that called scanpy, anndata or us, whichever function has found what is warned of.

    Parameters
    ----------
    message
        What to say.
    category
        The kind of warning.
    """
    frame = sys._getframe(1)
    while frame.f_back is not None and _is_between(frame):
        frame = frame.f_back
    # what `warnings.warn` does, which counts some frames on the way and others not
    module, registry = frame.f_globals.get("__name__"), frame.f_globals.setdefault("__warningregistry__", {})
    warnings.warn_explicit(message, category, frame.f_code.co_filename, frame.f_lineno, module, registry)


def _is_between(frame: FrameType) -> bool:
    return frame.f_globals.get("__name__", "").partition(".")[0] in _BETWEEN


def telling_user(function: T) -> T:
    """Return a function of scanpy that gives its warnings at the user's line, and not at the line that calls it.

    It is the same code, and that of those that it calls in its module, in which ``warnings.warn`` has another meaning:
    what it warns of is said at the same time as ever, in whichever thread. The names that it knows are those of its
    module at this time: make another one for each call.
    """
    return _told(function, {})


def _told(function: object, copies: dict[object, FunctionType]) -> Any:
    if not isinstance(function, FunctionType) or function in copies:
        return copies.get(function, function)
    names = {**function.__globals__, "warnings": _Warnings("warnings"), "warn": _warn}
    copy = FunctionType(function.__code__, names, function.__name__, function.__defaults__, function.__closure__)
    copy.__kwdefaults__ = function.__kwdefaults__
    copies[function] = copy
    for name in function.__code__.co_names:
        if getattr(names.get(name), "__module__", None) == function.__module__:
            names[name] = _told(names[name], copies)
    return copy


def _warn(message: str, category: type[Warning] = UserWarning, *_: object, **__: object) -> None:
    warn_user(message, category)


class _Warnings(ModuleType):
    """The module `warnings`, for functions whose warnings are to name the user's line."""

    warn = staticmethod(_warn)

    def __getattr__(self, name: str) -> object:
        return getattr(warnings, name)


remarks: ContextVar[list[str] | None] = ContextVar("remarks", default=None)
"""What was said of the call under way; none where no call is recorded."""


def remark(text: str) -> None:
    """Say something of the call under way, as a clause, which the report adds to the reason.

    Parameters
    ----------
    text
        What to say.
    """
    said = remarks.get()
    if said is not None:
        said.append(text)


def warning(message: str) -> None:
    """Log something that users should know."""
    _log("warning", message)


def info(message: str) -> None:
    """Log something that users may want to know."""
    _log("info", message)


def _log(level: str, message: str) -> None:
    scanpy = _scanpy()
    getattr(logging.getLogger("scanpy_oom") if scanpy is None else scanpy.logging, level)(message)


def is_silent() -> bool:
    """Return whether scanpy was told to say nothing."""
    scanpy = _scanpy()
    return scanpy is not None and int(scanpy.settings.verbosity) == 0


def _scanpy() -> ModuleType | None:
    """Return scanpy if it is loaded, all of it."""
    scanpy = sys.modules.get("scanpy")
    return scanpy if hasattr(scanpy, "logging") and hasattr(scanpy, "settings") else None
