"""An environment in which the package is built and installed, as users have it."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
import venv
import zipfile
from pathlib import Path

ROOT = Path(__file__).parents[1]

BUILD = """
import sys
from hatchling.build import build_editable, build_wheel
print((build_wheel if sys.argv[1] == "wheel" else build_editable)(sys.argv[2]))
"""


IS_OURS = """
def is_ours(function):
    return "scanpy_oom" in function.__code__.co_filename
"""


class Environment:
    """A virtual environment in which this package is installed, and all else borrowed from that of the tests."""

    def __init__(self, path: Path, kind: str) -> None:
        venv.create(path, symlinks=True)
        scheme = sysconfig.get_path("purelib", "venv", vars={"base": str(path)})
        self.python = path / "bin" / "python"
        self.site = Path(scheme)
        output = subprocess.run(
            [sys.executable, "-c", BUILD, kind, path], cwd=ROOT, check=True, capture_output=True, text=True
        )
        with zipfile.ZipFile(path / output.stdout.split()[-1]) as wheel:
            wheel.extractall(self.site)
        borrowed = sorted({sysconfig.get_path(name) for name in ("purelib", "platlib")})
        (self.site / "zz_borrowed.pth").write_text("\n".join(borrowed))

    def run(self, *arguments: str | Path, check: bool = True, **variables: str) -> subprocess.CompletedProcess[str]:
        plain = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "SCANPY_OOM"))}
        environment = plain | {"PYTHONDONTWRITEBYTECODE": "1"} | variables
        command = [str(self.python), *map(str, arguments)]
        return subprocess.run(command, env=environment, check=check, capture_output=True, text=True)

    def output(self, script: str, *arguments: str | Path, **variables: str) -> list[str]:
        return self.run("-c", IS_OURS + script, *arguments, **variables).stdout.splitlines()
