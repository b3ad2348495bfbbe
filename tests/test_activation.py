"""The package as users have it: built, installed in an environment, never imported."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from .installed import ROOT, Environment


@pytest.fixture(scope="module", params=["wheel", "editable"])
def either(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Environment:
    """Installed in each way."""
    return Environment(tmp_path_factory.mktemp(request.param), request.param)


# -- what is installed


def test_the_hook_comes_with_the_package(either: Environment) -> None:
    assert (either.site / "scanpy_oom.pth").read_text() == (ROOT / "src" / "scanpy_oom.pth").read_text()
    assert (either.site / "_scanpy_oom_activate.py").exists()


IMPORTS = {
    "scanpy": "import scanpy as sc; read = sc.read_h5ad",
    "scanpy, by name": "from scanpy import read_h5ad as read",
    "sc.read": "import scanpy as sc; read = sc.read",
    "anndata": "import anndata; read = anndata.read_h5ad",
    "anndata.io": "from anndata.io import read_h5ad as read",
    "anndata before scanpy": "import anndata, scanpy; read = scanpy.read_h5ad",
}


@pytest.mark.parametrize("case", IMPORTS)
def test_backed_oom_is_known_without_importing_us(case: str, installed: Environment, h5ad: Path) -> None:
    script = f"{IMPORTS[case]}\nimport sys\nprint(type(read(sys.argv[1], backed='oom').X).__name__)"
    assert installed.output(script, h5ad) == ["OOMCSRMatrix"]


def test_scanpy_runs_out_of_memory(either: Environment, h5ad: Path) -> None:
    script = """
import sys, scanpy as sc
adata = sc.read_h5ad(sys.argv[1], backed="oom")
sc.pp.log1p(adata)
print(type(adata.X).__name__, list(adata.uns))
"""
    assert either.output(script, h5ad) == ["OOMCSRMatrix ['log1p']"]


@pytest.mark.parametrize("value", ["1", "yes"])
def test_an_environment_variable_keeps_it_out(value: str, installed: Environment) -> None:
    script = "import sys, anndata; print(is_ours(anndata.read_h5ad), 'scanpy_oom' in sys.modules)"
    assert installed.output(script, SCANPY_OOM_DISABLE=value) == ["False False"]


@pytest.mark.parametrize("value", ["", "0"])
def test_an_environment_variable_that_says_no_does_not(value: str, installed: Environment) -> None:
    script = "import anndata; print(is_ours(anndata.read_h5ad))"
    assert installed.output(script, SCANPY_OOM_DISABLE=value) == ["True"]


# -- what it costs


def test_an_interpreter_without_scanpy_imports_nothing_of_ours(either: Environment) -> None:
    assert "scanpy_oom" not in either.run("-X", "importtime", "-c", "pass").stderr


def test_the_line_that_every_interpreter_runs_takes_less_than_a_millisecond(installed: Environment) -> None:
    script = """
import sys, time
line = open(sys.argv[1]).read().splitlines()[-1]
def cost():
    start = time.perf_counter()
    exec(line)
    return time.perf_counter() - start
print(min(cost() for _ in range(20)))
"""
    assert float(installed.output(script, installed.site / "scanpy_oom.pth")[0]) < 1e-3


def test_importing_scanpy_imports_little_of_ours(installed: Environment) -> None:
    script = "import sys, scanpy; print(*(name for name in sys.modules if name.startswith(('scanpy_oom', 'pluggy'))))"
    assert set(installed.output(script)[0].split()) == {
        "scanpy_oom",
        "scanpy_oom._scanpy",
        "scanpy_oom.messages",
        "scanpy_oom.report",
        "scanpy_oom.settings",
        "scanpy_oom.errors",
        "scanpy_oom.dispatch",
        "scanpy_oom.dispatch.prefetch",
        "scanpy_oom.dispatch.patching.patch",
        "scanpy_oom.dispatch.uses",
        "scanpy_oom.dispatch.registry",
        "scanpy_oom.dispatch.patching",
        "scanpy_oom.dispatch.patching._importlib_bootstrap",
        "scanpy_oom.dispatch.patching._importlib_bootstrap.wrappers",
    }
    imports = installed.run("-X", "importtime", "-c", "import scanpy").stderr
    own = re.findall(r"import time: +(\d+) \|.*scanpy_oom", imports)
    assert sum(map(int, own)) < 100_000  # microseconds; a few thousand where nothing else runs


LOADED = """
import sys
def loaded(*names):
    return [name for name in names if name in sys.modules]
"""


def test_a_file_that_is_only_opened_loads_no_compiler(installed: Environment, h5ad: Path) -> None:
    script = """
import anndata
adata = anndata.read_h5ad(sys.argv[1], backed="oom")
few = adata[:3, :2].copy()
print(few.X.shape, loaded("scanpy", "sklearn", "matplotlib", "numba", "llvmlite", "fast_array_utils"))
"""
    assert installed.output(LOADED + script, h5ad) == ["(3, 2) []"]


def test_what_needs_no_scanpy_does_not_load_it(installed: Environment, h5ad: Path, tmp_path: Path) -> None:
    script = """
import anndata
adata = anndata.read_h5ad(sys.argv[1], backed="oom")
adata.layers["doubled"] = adata.X * 2
adata[:3].X.sum(), adata.X.mean(axis=0), adata.X.toarray(), adata.X[:2]
adata.write_h5ad(sys.argv[2])
anndata.concat([adata, adata], label="part").write_h5ad(sys.argv[2])
print(type(anndata.read_h5ad(sys.argv[2], backed="oom").X).__name__, loaded("scanpy", "sklearn", "matplotlib"))
"""
    assert installed.output(LOADED + script, h5ad, tmp_path / "out.h5ad") == ["OOMCSRMatrix []"]


def test_what_is_imported_after_a_file_was_opened_knows_it(installed: Environment, h5ad: Path) -> None:
    script = """
import anndata
adata = anndata.read_h5ad(sys.argv[1], backed="oom")
print(loaded("scanpy", "sklearn"))
from sklearn.utils.sparsefuncs import mean_variance_axis
from sklearn.utils.validation import check_array
from sklearn.utils import check_array as another
print(is_ours(mean_variance_axis), is_ours(check_array), another is check_array, loaded("scanpy"))
import scanpy as sc
sc.pp.log1p(adata)
print(is_ours(sc.pp.log1p), is_ours(sc.tl.umap), type(adata.X).__name__)
"""
    assert installed.output(LOADED + script, h5ad) == ["[]", "True True True []", "True True OOMCSRMatrix"]


def test_helpers_of_scanpy_that_are_imported_later_know_matrices_on_disk(installed: Environment, h5ad: Path) -> None:
    pytest.importorskip("fast_array_utils")
    script = """
import anndata
adata = anndata.read_h5ad(sys.argv[1], backed="oom")
print(loaded("fast_array_utils"))
from fast_array_utils import conv, stats
print(abs(stats.sum(adata.X) - adata.X.sum()) < 1e-3, conv.to_dense(adata.X).shape == adata.shape)
"""
    assert installed.output(LOADED + script, h5ad) == ["[]", "True True"]


def test_disabling_leaves_alone_what_is_imported_later(installed: Environment, h5ad: Path) -> None:
    script = """
import anndata, scanpy_oom
anndata.read_h5ad(sys.argv[1], backed="oom")
scanpy_oom.disable()
from sklearn.utils.sparsefuncs import mean_variance_axis
print(is_ours(mean_variance_axis), [finder for finder in sys.meta_path if "ScanpyOOM" in str(finder)])
"""
    assert installed.output(LOADED + script, h5ad) == ["False []"]


# -- imports that are not plain


def test_looking_for_scanpy_changes_nothing(installed: Environment) -> None:
    script = """
import importlib.util
from importlib.machinery import SourceFileLoader
for name in ("scanpy", "anndata"):
    first, second = (importlib.util.find_spec(name) for _ in range(2))
    print(type(first.loader) is SourceFileLoader, first.origin == second.origin)
import scanpy
print(is_ours(scanpy.pp.log1p), vars(scanpy.__spec__.loader).keys() == vars(scanpy.pp.__spec__.loader).keys())
"""
    assert installed.output(script) == ["True True", "True True", "True True"]


def test_reloading_keeps_functions_wrapped_once(installed: Environment) -> None:
    script = """
import importlib, scanpy, anndata
read, log1p = scanpy.read_h5ad, scanpy.pp.log1p
importlib.reload(anndata); importlib.reload(scanpy)
print(scanpy.read_h5ad is read, anndata.read_h5ad is read, scanpy.pp.log1p is log1p)
"""
    assert installed.output(script) == ["True True True"]


def test_an_import_that_fails_fails_and_may_be_repeated(installed: Environment, tmp_path: Path) -> None:
    package = tmp_path / "anndata"
    package.mkdir()
    (package / "__init__.py").write_text(
        "import sys\nif not hasattr(sys, 'second'):\n    sys.second = True\n    raise ImportError('the first time')\n"
        "from .io import read_h5ad\n"
    )
    (package / "io.py").write_text("def read_h5ad(filename, backed=None):\n    return 'read'\n")
    script = """
import sys
sys.path.insert(0, sys.argv[1])
try:
    import anndata
except ImportError as error:
    print(error)
import anndata
print(anndata.read_h5ad("x"), anndata.read_h5ad is anndata.io.read_h5ad, is_ours(anndata.read_h5ad))
"""
    assert installed.output(script, tmp_path) == ["the first time", "read True True"]


def test_another_finder_may_stand_in_front(installed: Environment, h5ad: Path) -> None:
    script = """
import sys
class Finder:
    asked = []
    def find_spec(self, name, path=None, target=None):
        self.asked.append(name)
        for finder in sys.meta_path:
            if finder is not self and (spec := finder.find_spec(name, path, target)) is not None:
                return spec
sys.meta_path.insert(0, Finder())
import scanpy as sc
print(Finder.asked.count("scanpy"), type(sc.read_h5ad(sys.argv[1], backed="oom").X).__name__)
"""
    assert installed.output(script, h5ad) == ["1 OOMCSRMatrix"]


def test_what_another_finder_hides_is_wrapped_by_the_first_read(installed: Environment, h5ad: Path) -> None:
    script = """
import sys
from importlib.machinery import PathFinder
class Finder:
    def find_spec(self, name, path=None, target=None):
        return PathFinder.find_spec(name, path) if name.partition(".")[0] == "scanpy" else None
sys.meta_path.insert(0, Finder())
import scanpy as sc
print(is_ours(sc.pp.log1p))
adata = sc.read_h5ad(sys.argv[1], backed="oom")
sc.pp.log1p(adata)
print(is_ours(sc.pp.log1p), type(adata.X).__name__)
"""
    assert installed.output(script, h5ad) == ["False", "True OOMCSRMatrix"]


def test_scanpy_can_be_imported_where_this_package_is_damaged(installed: Environment) -> None:
    script = """
import sys, warnings
sys.modules["scanpy_oom.dispatch.patching.patch"] = None
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    import anndata
print(*(warning.message for warning in caught if warning.category is RuntimeWarning))
print(*(warning.filename for warning in caught if warning.category is RuntimeWarning))
"""
    said, where = installed.output(script)
    assert where == "<string>"
    assert "scanpy-oom could not be activated, so `backed='oom'` is not known: ModuleNotFoundError" in said
    assert "SCANPY_OOM_DISABLE=1" in said


# -- by hand


def test_enabling_late_and_disabling(installed: Environment, h5ad: Path) -> None:
    script = """
import sys, scanpy as sc
from scanpy import read_h5ad
plain = [read_h5ad]
import scanpy_oom
scanpy_oom.enable()
print(read_h5ad is sc.read_h5ad is not plain[0], type(sc.read_h5ad(sys.argv[1], backed="oom").X).__name__)
scanpy_oom.disable()
print(read_h5ad is sc.read_h5ad is plain[0], [finder for finder in sys.meta_path if "ScanpyOOM" in str(finder)])
"""
    assert installed.output(script, h5ad, SCANPY_OOM_DISABLE="1") == ["True OOMCSRMatrix", "True []"]


def test_disabling_early_keeps_it_out(installed: Environment) -> None:
    script = "import scanpy_oom; scanpy_oom.disable(); import anndata; print(is_ours(anndata.read_h5ad))"
    assert installed.output(script) == ["False"]


def test_enabling_early_waits_for_anndata(installed: Environment) -> None:
    script = """
import sys, scanpy_oom
scanpy_oom.enable()
print("anndata" in sys.modules)
import anndata
print(is_ours(anndata.read_h5ad))
"""
    assert installed.output(script, SCANPY_OOM_DISABLE="1") == ["False", "True"]


def test_it_is_an_ipython_extension(installed: Environment) -> None:
    pytest.importorskip("IPython")
    script = """
import scanpy as sc
from IPython.core.interactiveshell import InteractiveShell
shell = InteractiveShell.instance()
for magic in ("load_ext", "unload_ext", "load_ext"):
    shell.run_line_magic(magic, "scanpy_oom")
    print(is_ours(sc.read_h5ad))
"""
    assert installed.output(script, SCANPY_OOM_DISABLE="1") == ["True", "False", "True"]


def test_the_magic_says_which_files_stay_on_disk_and_shows_the_report(installed: Environment) -> None:
    pytest.importorskip("IPython")
    script = """
import scanpy_oom
from IPython.core.interactiveshell import InteractiveShell
shell = InteractiveShell.instance()
shell.run_line_magic("load_ext", "scanpy_oom")
shell.run_line_magic("scanpy_oom", "auto")
print(scanpy_oom.settings.read)
print(type(shell.run_line_magic("scanpy_oom", "report")).__name__)
try:
    shell.run_line_magic("scanpy_oom", "aut")
except ValueError as error:
    print(error)
shell.run_line_magic("unload_ext", "scanpy_oom")
print(shell.find_line_magic("scanpy_oom"))
"""
    assert installed.output(script) == [
        "auto",
        "Report",
        "`%scanpy_oom aut` is not known. Use `%scanpy_oom report`, or one of asked, auto, always.",
        "None",
    ]


def test_the_package_offers_what_it_names(installed: Environment) -> None:
    script = """
import scanpy_oom
print(*(name for name in scanpy_oom.__all__ if getattr(scanpy_oom, name) is None or name not in dir(scanpy_oom)))
print(scanpy_oom.settings.memory_limit > 0, scanpy_oom.__version__)
import scanpy_oom.settings
print(scanpy_oom.settings.n_threads > 0)
try:
    scanpy_oom.no_such_name
except AttributeError as error:
    print(error)
"""
    lines = installed.output(script)
    assert lines[0] == ""
    assert re.fullmatch(r"True \d+\.\d+\.\d+\S*", lines[1])
    assert lines[2:] == ["True", "module 'scanpy_oom' has no attribute 'no_such_name'"]


def test_an_environment_without_this_package_is_left_alone(installed: Environment) -> None:
    script = """
import sys, warnings
sys.modules["scanpy_oom"] = None  # as where the hook was left behind: it cannot be imported
warnings.simplefilter("ignore")
import anndata
print(is_ours(anndata.read_h5ad))
"""
    assert installed.output(script) == ["False"]
