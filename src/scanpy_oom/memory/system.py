"""Memory that this process may take: of the machine, its control groups and its own limits."""

from __future__ import annotations

import sys
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import psutil

__all__ = ["available_memory", "cgroup_headroom", "rlimit_headroom"]

PROC = Path("/proc/self")


def available_memory() -> int:
    """Return the bytes that this process can still take: the least of what is free and of what its limits leave."""
    found = [psutil.virtual_memory().available, cgroup_headroom(), rlimit_headroom()]
    return min(nbytes for nbytes in found if nbytes is not None)


def rlimit_headroom() -> int | None:
    """Return what the limit of the address space (``ulimit -v``) leaves; None if there is none."""
    if sys.platform == "win32":
        return None
    import resource

    soft, _ = resource.getrlimit(resource.RLIMIT_AS)
    return None if soft == resource.RLIM_INFINITY else max(soft - psutil.Process().memory_info().vms, 0)


class _Version(NamedTuple):
    """Names of the files of one version of control groups."""

    limit: str
    usage: str
    reclaimable: str


_V1 = _Version("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")
_V2 = _Version("memory.max", "memory.current", "inactive_file")


def cgroup_headroom(proc: Path = PROC) -> int | None:
    """Return what the control groups of the process leave, the one that leaves least; None if they set no limit.

    Parameters
    ----------
    proc
        The folder that describes the process.

    Notes
    -----
    A group's usage counts pages of files that it has read, which the kernel gives back before it refuses memory: these
    are left out.
    """
    try:
        groups = (proc / "cgroup").read_text().splitlines()
        mounts = (proc / "mountinfo").read_text().splitlines()
    except OSError:  # no Linux
        return None
    found = []
    for line in groups:
        number, controllers, path = line.split(":", 2)
        if number == "0" and not controllers:
            version, kind = _V2, "cgroup2"
        elif "memory" in controllers.split(","):
            version, kind = _V1, "cgroup"
        else:
            continue
        for mount in mounts:
            found += _headrooms(mount, kind, path, version)
    return min(found, default=None)


def _headrooms(mount: str, kind: str, path: str, version: _Version) -> list[int]:
    """Return what the group at `path` and those above it leave, as seen through one mount."""
    found = []
    for folder in _folders(mount, kind, path):
        try:
            found += _headroom(folder, version)
        except (FileNotFoundError, PermissionError):  # a group that is gone meanwhile, or not for us to read
            continue
    return found


@lru_cache(maxsize=1024)
def _folders(mount: str, kind: str, path: str) -> tuple[Path, ...]:
    """Return the folders of the group at `path` and of those above it: asked for whenever the limit is."""
    before, _, after = mount.partition(" - ")
    root, place = before.split()[3:5]
    filesystem, _, options = after.split()[:3]
    if filesystem != kind or (kind == "cgroup" and "memory" not in options.split(",")):
        return ()
    top = Path(place)
    group = top / Path(path).relative_to(root) if Path(path).is_relative_to(root) else top
    return tuple(folder for folder in (group, *group.parents) if folder.is_relative_to(top))


def _headroom(folder: Path, version: _Version) -> list[int]:
    if not (folder / version.limit).is_file():
        return []
    limit = (folder / version.limit).read_text().strip()
    if limit == "max" or int(limit) >= 2**60:  # which is how version 1 writes that there is none
        return []
    usage = int((folder / version.usage).read_text())
    lines = (folder / "memory.stat").read_text().splitlines()
    reclaimable = dict(line.split() for line in lines).get(version.reclaimable, "0")
    return [max(int(limit) - usage + int(reclaimable), 0)]
