"""Files of control groups as kernels write them; and a real limit of the address space."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from scanpy_oom.memory.system import available_memory, cgroup_headroom


def describe(tmp_path: Path, groups: str, mounts: str) -> Path:
    proc = tmp_path / "self"
    proc.mkdir()
    (proc / "cgroup").write_text(groups)
    (proc / "mountinfo").write_text(mounts)
    return proc


def group(folder: Path, **content: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in content.items():
        (folder / name.replace("__", ".")).write_text(text)


def test_version_2_leaves_the_least_of_the_group_and_those_above_it(tmp_path):
    top = tmp_path / "cgroup"
    group(top, memory__stat="")
    group(top / "user", memory__max="1000\n", memory__current="900\n", memory__stat="anon 5\ninactive_file 300\n")
    group(top / "user/job", memory__max="max\n", memory__current="800\n", memory__stat="inactive_file 0\n")
    mounts = (
        f"30 23 0:26 / {top} rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate\n22 1 8:1 / / rw - ext4 /dev/vda rw\n"
    )
    assert cgroup_headroom(describe(tmp_path, "0::/user/job\n", mounts)) == 400


def test_version_1_is_read_from_the_memory_controller(tmp_path):
    top = tmp_path / "memory"
    group(
        top / "docker/x",
        memory__limit_in_bytes="5000\n",
        memory__usage_in_bytes="4500\n",
        memory__stat="inactive_file 1\ntotal_inactive_file 500\n",
    )
    none = str(2**63 - 4096)
    group(top, memory__limit_in_bytes=none, memory__usage_in_bytes="9000", memory__stat="total_inactive_file 0\n")
    groups = "5:cpu:/docker/x\n4:memory:/docker/x\n0::/\n"
    mounts = f"31 23 0:28 / {top} rw - cgroup cgroup rw,memory\n32 23 0:29 / {tmp_path} rw - cgroup cgroup rw,cpu\n"
    assert cgroup_headroom(describe(tmp_path, groups, mounts)) == 1000


def test_a_container_sees_its_own_group_as_the_top(tmp_path):
    top = tmp_path / "memory"
    group(top, memory__limit_in_bytes="700", memory__usage_in_bytes="800", memory__stat="total_inactive_file 0\n")
    mounts = f"31 23 0:28 /docker/x {top} ro - cgroup cgroup rw,memory\n"
    assert cgroup_headroom(describe(tmp_path, "4:memory:/docker/x\n", mounts)) == 0


def test_without_limits_or_without_control_groups_there_is_none(tmp_path):
    assert cgroup_headroom(tmp_path / "no") is None
    group(tmp_path / "top", memory__stat="")
    mounts = f"30 23 0:26 / {tmp_path / 'top'} rw - cgroup2 cgroup2 rw\n"
    assert cgroup_headroom(describe(tmp_path, "0::/\n", mounts)) is None


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such limit")
def test_the_default_memory_limit_stays_below_what_the_address_space_leaves():
    code = """
import resource, psutil
before = psutil.Process().memory_info().vms
resource.setrlimit(resource.RLIMIT_AS, (before + 2 * 10**9, resource.RLIM_INFINITY))
from scanpy_oom.settings import settings
print(settings.memory_limit)
"""
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert 0 < int(out) <= 5 * 10**8


def test_no_more_is_available_than_the_machine_has():
    assert 0 < available_memory() <= psutil.virtual_memory().total


def test_a_group_beside_that_of_a_container_is_not_taken_for_one_below_it(tmp_path):
    top = tmp_path / "cgroup"
    group(top, memory__max="1000", memory__current="100", memory__stat="inactive_file 0\n")
    mounts = f"30 23 0:26 /user.slice {top} rw - cgroup2 cgroup2 rw\n"
    assert cgroup_headroom(describe(tmp_path, "0::/user.slice-b/x\n", mounts)) == 900
