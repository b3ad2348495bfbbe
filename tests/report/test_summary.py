from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import scanpy as sc

import scanpy_oom
from scanpy_oom import MemoryBudgetExceeded, settings
from scanpy_oom.engine.runtime.pass_log import Totals
from scanpy_oom.report.page import fragment

from .conftest import START, MakeReport, call


def test_a_session_is_recorded_from_the_first_file_on(h5ad: Path) -> None:
    script = """
import sys, numpy as np, scanpy as sc, scanpy_oom
unwrapped = [sc.tl.diffmap]  # in a list, where no name of the script is replaced
sc.pp.log1p(np.ones((3, 3)))
assert "scanpy_oom.memory.rss" not in sys.modules
print(scanpy_oom.report())
assert sc.tl.diffmap is unwrapped[0]
adata = sc.read_h5ad(sys.argv[1], backed="oom")
assert sc.tl.diffmap is not unwrapped[0] and sc.tl.diffmap.__wrapped__ is unwrapped[0]
sc.pp.pca(adata, n_comps=3)
sc.pp.neighbors(adata, n_neighbors=5, use_rep="X_pca")
print(*scanpy_oom.report().to_dataframe()["function"])
scanpy_oom.disable()
assert sc.tl.diffmap is unwrapped[0]
scanpy_oom.enable()
assert sc.tl.diffmap is not unwrapped[0]
"""
    run = subprocess.run([sys.executable, "-c", script, h5ad], capture_output=True, text=True, check=True)
    assert run.stdout.splitlines() == [
        'Nothing has been recorded: that begins when the first file is opened with backed="oom".',
        "read_h5ad pp.pca pp.neighbors",
    ]


def test_importing_scanpy_does_not_load_what_the_report_needs() -> None:
    script = """
import sys, scanpy, scanpy_oom
print(callable(scanpy_oom.report), [name for name in sys.modules if name.startswith("scanpy_oom.report.")])
import scanpy_oom.report.summary
print(callable(scanpy_oom.report))
"""
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert run.stdout.split("\n")[:2] == ["True []", "True"]


def test_clearing_begins_anew_and_leaves_earlier_reports_alone(h5ad: Path) -> None:
    scanpy_oom.report(clear=True)
    adata = sc.read_h5ad(h5ad, backed="oom")
    sc.pp.calculate_qc_metrics(adata, percent_top=None)
    before = scanpy_oom.report(clear=True)
    sc.pp.log1p(adata)
    after = scanpy_oom.report()
    assert [one.function for one in before.calls] == ["read_h5ad", "pp.calculate_qc_metrics"]
    assert [one.function for one in after.calls] == ["pp.log1p"]
    assert (before.tally.passes, after.tally.passes) == (1, 0)
    assert before.recorded.ended <= after.recorded.started <= after.recorded.memory[0][0] + 1


def test_the_frame_has_a_row_for_each_call_in_order(make_report: MakeReport) -> None:
    inner = call("pp.scale", at=1.5, depth=1, caller="pp.recipe_seurat", passes=1)
    outer = call("pp.recipe_seurat", at=1, how="scanpy as it is", passes=1, error="KeyError")
    frame = make_report(inner, outer, call(at=0)).to_dataframe()
    assert list(frame["function"]) == ["pp.log1p", "pp.recipe_seurat", "pp.scale"]
    assert list(frame["depth"]) == [0, 0, 1]
    assert list(frame["caller"]) == [None, None, "pp.recipe_seurat"]
    assert list(frame["error"]) == [None, "KeyError", None]
    assert frame["started"][0] == pd.Timestamp(START, unit="s", tz="UTC")
    assert frame["how"].cat.categories.tolist() == ["out of memory", "scanpy as it is", "materialised"]
    assert frame.loc[frame["depth"] == 0, "passes"].sum() == 1


def test_an_empty_report_makes_a_frame_with_the_same_columns(make_report: MakeReport) -> None:
    empty, full = make_report().to_dataframe(), make_report(call()).to_dataframe()
    assert len(empty) == 0
    assert list(empty.columns) == list(full.columns)
    assert empty.dtypes.drop(["depth", "seconds", "passes", "bytes_read", "peak_memory"]).equals(
        full.dtypes.drop(["depth", "seconds", "passes", "bytes_read", "peak_memory"])
    )


def test_sums_are_over_calls_by_the_user(make_report: MakeReport) -> None:
    outer = {"how": "scanpy as it is", "passes": 3, "bytes_read": 300, "seconds": 2.0}
    report = make_report(
        call("pp.scale", at=0.1, depth=1, passes=3, bytes_read=300, error="ValueError"),
        call("pp.recipe_seurat", **outer),
        call(at=3, how="materialised", passes=1, bytes_read=50, error="ValueError", peak_memory=7),
    )
    tally = report.tally
    assert (tally.calls, tally.nested, tally.failed) == (2, 1, 1)
    assert (tally.passes, tally.bytes_read, tally.seconds, tally.peak_memory) == (4, 350, 3.0, 7)
    assert dict(tally.by_how) == {"scanpy as it is": 1, "materialised": 1}


def test_passes_outside_of_calls_are_told(make_report: MakeReport) -> None:
    assert make_report(call(passes=1, bytes_read=10), passes=Totals(3, 25)).passes_outside == (2, 15)
    text = str(make_report(call(passes=1, bytes_read=10), passes=Totals(3, 25)))
    assert "Outside of these calls: 2 passes, 15 B." in text


def test_of_many_calls_the_last_are_listed_and_all_are_summed(make_report: MakeReport) -> None:
    report = make_report(*(call(at=i, passes=1) for i in range(50)), length=10)
    assert len(report.calls) == 10
    assert report.calls[-1].started == START + 49
    assert (report.n_earlier, report.tally.calls, report.tally.passes) == (40, 50, 50)
    assert "40 earlier calls" in str(report)
    assert "\n50  pp.log1p" in str(report)


def test_the_table_is_aligned(make_report: MakeReport) -> None:
    report = make_report(
        call("pp.calculate_qc_metrics", passes=1, bytes_read=5_510_000, seconds=12.345, peak_memory=61_000_000),
        call("tl.score_genes", at=20, how="materialised", reason="no version of it", error="MemoryError", seconds=0.0),
        call("get.obs_df", at=20.1, how="scanpy as it is", depth=1, caller="tl.score_genes", reason="needs a part"),
        memory=((0, 0), (1, 70_000_000)),
    )
    assert str(report).splitlines() == [
        "2 calls: 1 out of memory, 0 scanpy as it is, 1 materialised; 1 failed",
        "",
        "   function                 run by           passes     read  seconds  peak memory  why",
        "---------------------------------------------------------------------------------------",
        "1  pp.calculate_qc_metrics  out of memory         1  5.51 MB    12.35        61 MB  X is on disk",
        "2  tl.score_genes           materialised          0      0 B   <0.001          0 B  "
        "no version of it; failed: MemoryError",
        "3    get.obs_df             scanpy as it is       0      0 B     1.00          0 B  needs a part",
        "---------------------------------------------------------------------------------------",
        "   total                                          1  5.51 MB    12.35        70 MB",
        "Calls within others are indented; the total does not count them again.",
        "Peak memory: rise of the resident set, sampled; in the total, above that when recording began.",
    ]
    assert repr(report) == str(report)


def test_a_limit_counts_where_somebody_has_set_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SCANPY_OOM_MEMORY_LIMIT", raising=False)
    monkeypatch.setattr(settings, "_memory_limit", None)
    assert scanpy_oom.report().memory_limit is None
    monkeypatch.setenv("SCANPY_OOM_MEMORY_LIMIT", "2 GB")
    assert scanpy_oom.report().memory_limit == 2 * 10**9
    monkeypatch.setattr(settings, "_memory_limit", 10**6)
    assert scanpy_oom.report().memory_limit == 10**6


def test_versions_are_those_that_are_installed() -> None:
    versions = scanpy_oom.report().versions
    assert versions["scanpy-oom"] == scanpy_oom.__version__
    assert versions["scanpy"] == sc.__version__


def test_a_forked_process_records_on_its_own(h5ad: Path) -> None:
    scanpy_oom.report(clear=True)
    adata = sc.read_h5ad(h5ad, backed="oom")
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            sc.get.obs_df(adata, ["0"])
            report = scanpy_oom.report()
            told = " ".join(one.function for one in report.calls)
            os.write(writing, f"{told} {report.recorded.memory[-1][0] > adata.shape[0]}".encode())
        finally:
            os._exit(0)
    os.waitpid(pid, 0)
    assert os.read(reading, 1000).decode() == "read_h5ad get.obs_df True"
    assert [one.function for one in scanpy_oom.report().calls] == ["read_h5ad"]


def test_a_page_replaces_an_older_one_whole(make_report: MakeReport, tmp_path: Path) -> None:
    path = tmp_path / "report.html"
    path.write_text("older")
    make_report(call()).to_html(path)
    assert path.read_text().startswith("<!DOCTYPE html>")
    assert list(tmp_path.iterdir()) == [path]
    with pytest.raises(FileNotFoundError):
        make_report(call()).to_html(tmp_path / "no_such_folder" / "report.html")


def test_memory_over_time_is_sampled(h5ad: Path) -> None:
    scanpy_oom.report(clear=True)
    adata = sc.read_h5ad(h5ad, backed="oom")
    taken = np.ones(100_000_000, np.uint8)
    sc.pp.log1p(adata)
    report = scanpy_oom.report()
    assert 80_000_000 < report.peak_memory < 10**9
    assert [at for at, _ in report.recorded.memory] == sorted(at for at, _ in report.recorded.memory)
    del taken


def test_what_the_user_brings_into_memory_is_listed_with_the_line(h5ad: Path) -> None:
    adata = sc.read_h5ad(h5ad, backed="oom")
    scanpy_oom.report(clear=True)
    adata.X.todense()
    adata.X.toarray()
    held = adata.to_memory()
    sc.pp.log1p(adata)
    sc.pp.log1p(held)
    report = scanpy_oom.report()
    made, run, known = report.calls[:3], report.calls[3], report.calls[4]
    assert [one.function for one in made] == ["X.toarray", "X.toarray", "X.to_memory"]
    assert {one.how for one in made} == {"materialised"}
    assert (run.how, run.where) == ("out of memory", None)
    assert all(re.search(r"test_summary\.py, line \d+$", one.where or "") for one in made)
    assert made[1].reason == "19.2 kB of counts.h5ad:/X"
    assert "asked for by anndata/" in made[2].reason
    assert re.fullmatch(r"X is in memory since X\.to_memory in .*test_summary\.py, line \d+", known.reason)
    assert report.tally.by_how["materialised"] == 3
    assert report.passes_outside == (0, 0)
    frame = report.to_dataframe()
    assert list(frame["where"][:3]) == [one.where for one in made]
    assert list(frame["where"][3:]) == [None, None]
    for text in (str(report), fragment(report, "title")):
        assert "3 materialised" in text
        for one in made:
            assert str(one.where) in text


def test_what_a_library_or_a_function_brings_into_memory_is_part_of_that_call(h5ad: Path) -> None:
    adata = sc.read_h5ad(h5ad, backed="oom")
    scanpy_oom.report(clear=True)
    sc.pp.pca(adata, n_comps=3)
    sc.get.obs_df(adata, ["0", "1"])
    assert not [one for one in scanpy_oom.report().calls if one.how == "materialised"]


def test_why_data_are_in_memory_is_said_as_far_as_it_is_known(h5ad: Path) -> None:
    adata = sc.read_h5ad(h5ad, backed="oom")
    read = sc.read_h5ad(h5ad)
    scanpy_oom.report(clear=True)
    sc.pp.log1p(read)
    sc.pp.log1p(np.ones((3, 3)))
    adata.layers["dense"] = adata.X.toarray()
    sc.pp.log1p(adata, layer="dense")
    with pytest.raises(MemoryBudgetExceeded), settings_of(1000):
        adata.X.toarray()
    first, second, made, third, refused = scanpy_oom.report().calls
    assert re.fullmatch(r"its data are in memory since read_h5ad in .*test_summary\.py, line \d+", first.reason)
    assert second.reason == "its data are in memory"
    assert made.function == "X.toarray"
    assert third.reason == "uses layers['dense'], which is in memory"
    assert (refused.error, refused.how) == ("MemoryBudgetExceeded", "materialised")


@contextmanager
def settings_of(limit: int) -> Iterator[None]:
    before, settings._memory_limit = settings._memory_limit, limit
    try:
        yield
    finally:
        settings._memory_limit = before
