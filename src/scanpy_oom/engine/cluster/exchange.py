"""The folder by way of which workers exchange entries: scratch space that all of them see."""

from __future__ import annotations

import os
import shutil
import socket
import tempfile
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

import psutil

from ...settings import settings
from ...storage.scratch.file import ScratchSpaceError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from distributed import Client

__all__ = ["shared_folder"]

_PREFIX = "scanpy-oom-exchange"


@contextmanager
def shared_folder(client: Client) -> Iterator[Path | None]:
    """Make a folder in `settings.scratch_dir` for the time of a context; None if not all workers see it.

    Raises
    ------
    ScratchSpaceError
        If none can be made.
    """
    scratch = settings.scratch_dir
    _sweep(scratch)
    try:
        folder = Path(tempfile.mkdtemp(prefix=f"{_PREFIX}-{socket.gethostname()}-{os.getpid()}-", dir=scratch))
    except OSError as error:
        msg = f"No scratch folder can be made in {scratch}: {error}. Set settings.scratch_dir to a folder that exists."
        raise ScratchSpaceError(msg) from error
    try:
        seen = client.run(os.path.isdir, str(folder), on_error="ignore")  # of workers that are going
        yield folder if all(seen.values()) else None
    finally:
        _remove(folder)


def _remove(folder: Path) -> None:
    """Remove a folder in which a worker may still begin files: under a name that it does not know."""
    with suppress(OSError):
        folder = folder.rename(folder.with_name(f"{folder.name}-over"))
    shutil.rmtree(folder, ignore_errors=True)


def _sweep(scratch: Path) -> None:
    """Remove what processes of this machine have left that were killed."""
    mine = f"{_PREFIX}-{socket.gethostname()}-"
    for folder in scratch.glob(f"{mine}*"):
        with suppress(ValueError):  # the name of another kind
            if not psutil.pid_exists(int(folder.name.removeprefix(mine).partition("-")[0])):
                shutil.rmtree(folder, ignore_errors=True)
