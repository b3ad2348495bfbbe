from __future__ import annotations

import re
import shutil
import subprocess
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path

import pytest

from scanpy_oom.engine.runtime.pass_log import Totals
from scanpy_oom.report.page import fragment, page
from scanpy_oom.report.plot import plot
from scanpy_oom.report.summary import Report

from .conftest import MakeReport, call

VOID = {"meta", "input", "br", "hr", "img", "link"}


class Page(HTMLParser):
    """What a page holds; elements that are not closed are errors."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.rows: list[list[str]] = []
        self.elements: list[tuple[str, dict[str, str]]] = []
        self.texts: list[tuple[str, str]] = []
        self.feed(html)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, {name: value or "" for name, value in attributes}))
        if tag not in VOID:
            self.open.append(tag)
        if tag == "tr":
            self.rows.append([])
        if tag in {"td", "th"}:
            self.rows[-1].append("")

    def handle_startendtag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, {name: value or "" for name, value in attributes}))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open:
            self.texts.append((self.open[-1], data))
        if {"td", "th"} & set(self.open):
            self.rows[-1][-1] += data

    def having(self, tag: str, name: str) -> list[dict[str, str]]:
        """Attributes of the elements with a class."""
        return [found for one, found in self.elements if one == tag and name in found.get("class", "").split()]

    def text(self, tag: str) -> list[str]:
        return [text for one, text in self.texts if one == tag]


@pytest.fixture
def report(make_report: MakeReport) -> Report:
    return make_report(
        call("read_h5ad", seconds=0.5, peak_memory=2_000_000),
        call("pp.filter_genes", at=1.1, depth=1, caller="pp.recipe_seurat", passes=1),
        call("pp.recipe_seurat", at=1, how="scanpy as it is", seconds=4.0, passes=1, bytes_read=5_500_000),
        call("tl.score_genes", at=6, how="materialised", reason="there is no <b>version</b> & so on", seconds=2.0),
        call("pp.combat", at=9, how="materialised", error="MemoryBudgetExceeded", seconds=0.1),
        memory=tuple((i / 10, i * 1_000_000) for i in range(92)),
        passes=Totals(2, 6_000_000),
        limit=120_000_000,
    )


def test_a_page_holds_every_call_and_the_total(report: Report) -> None:
    head, *rows, total = Page(page(report, "a title")).rows
    assert head == ["", "Function", "Run by", "Passes", "Read", "Seconds", "Peak memory", "Why"]
    assert [row[:3] for row in rows] == [
        ["1", "read_h5ad", "out of memory"],
        ["2", "pp.recipe_seurat", "scanpy as it is"],
        ["3", "pp.filter_genes", "out of memory"],
        ["4", "tl.score_genes", "materialised"],
        ["5", "pp.combat", "materialised"],
    ]
    assert rows[1][3:7] == ["1", "5.5 MB", "4.00", "–"]
    assert rows[4][7] == "failed: MemoryBudgetExceeded X is on disk"
    assert total == ["", "Total", "", "1", "5.5 MB", "6.60", "91 MB", ""]


def test_text_is_escaped(report: Report) -> None:
    html = page(report, "<script>alert(1)</script>")
    assert "<script" not in html
    assert "<b>" not in html
    parsed = Page(html)
    assert parsed.text("h1") == ["<script>alert(1)</script>"]
    assert parsed.rows[4][7] == "there is no <b>version</b> & so on"


def test_a_page_needs_nothing_else(report: Report) -> None:
    html = page(report, "a title")
    assert not re.search(r"https?:|url\(|@import|src=|href=|<script|<link", html)


def test_figures_sum_up(report: Report) -> None:
    figures = [text for text in Page(page(report, "a title")).text("dd") if text.strip()]
    assert figures[:5] == ["4", "and 1 nested, 1 failed", "1 ", "1 scanpy as it is, 2 materialised", "1"]
    assert "and 1 outside of calls" in figures
    assert "and 500 kB outside of them" in figures


def test_calls_by_the_user_are_marked_in_the_plot(report: Report) -> None:
    parsed = Page(plot(report))
    lanes = parsed.having("rect", "lane")
    assert [lane["class"] for lane in lanes] == [
        "lane oom",
        "lane plain",
        "lane fallback",
        "lane fallback failed",
    ]
    lefts = [float(lane["x"]) for lane in lanes]
    assert lefts == sorted(lefts)
    recipe, score = float(lanes[1]["width"]), float(lanes[2]["width"])
    assert recipe == pytest.approx(2 * score, rel=0.01)
    assert {"pp.recipe_seurat", "tl.score_genes"} <= set(parsed.text("text"))
    assert "pp.combat: materialised, 0.10 s, 0 B, failed: MemoryBudgetExceeded" in parsed.text("title")


def test_short_calls_of_one_function_are_named_once(make_report: MakeReport) -> None:
    calls = [call("get.obs_df", at=i, seconds=0.9) for i in range(40)]
    assert Page(plot(make_report(*calls, call(at=40, seconds=4.0)))).text("text").count("get.obs_df") == 1


def test_the_curve_goes_through_the_samples(report: Report) -> None:
    (curve,) = Page(plot(report)).having("polyline", "curve")
    points = [tuple(map(float, point.split(","))) for point in curve["points"].split()]
    assert len(points) == 92
    assert all(left[0] <= right[0] and left[1] >= right[1] for left, right in pairwise(points))


def test_a_limit_is_drawn_where_it_is_near(make_report: MakeReport, report: Report) -> None:
    assert len(Page(plot(report)).having("line", "limit")) == 1
    far = make_report(call(), memory=((0, 0), (1, 10**6)), limit=10**9)
    assert not Page(plot(far)).having("line", "limit")
    assert "Memory limit for one operation: 1 GB." in page(far, "a title")
    assert "Memory limit" not in page(make_report(call()), "a title")


def test_long_breaks_are_cut_short(make_report: MakeReport) -> None:
    calls = [call(at=0, seconds=10.0), call(at=9010, seconds=10.0)]
    parsed = Page(plot(make_report(*calls, memory=((0, 0), (5, 10**7), (9015, 2 * 10**7)))))
    (cut,) = parsed.having("rect", "cut")
    first, last = parsed.having("rect", "lane")
    assert float(cut["width"]) < 0.1 * float(first["width"])
    assert float(first["width"]) == pytest.approx(float(last["width"]), rel=0.01)
    assert "2.5 h without a call" in parsed.text("title")


def test_a_page_of_very_many_calls_is_no_larger_than_its_table(make_report: MakeReport) -> None:
    report = make_report(*(call(at=i / 100, seconds=0.01) for i in range(10_000)))
    assert len(Page(plot(report)).having("rect", "lane")) < 4000


@pytest.mark.parametrize("seconds", [0.0, 1e-6, 3e5])
def test_calls_of_any_length_can_be_drawn(seconds: float, make_report: MakeReport) -> None:
    html = page(make_report(call(seconds=seconds)), "a title")
    assert "nan" not in html
    Page(html)


def test_a_report_of_nothing_says_so(make_report: MakeReport) -> None:
    begun = make_report()
    Page(page(begun, "a title"))
    recorded = type(begun.recorded)(None, 0, (), begun.recorded.earlier, (), 0, Totals(0, 0))
    html = page(Report(recorded, None, {}), "a title")
    assert "Nothing has been recorded" in html
    assert "<table" not in html


def test_notebooks_show_the_same_without_the_page_around_it(report: Report) -> None:
    html = report._repr_html_()
    assert html == fragment(report, "scanpy-oom report")
    parsed = Page(html)
    assert parsed.elements[0] == ("div", {"class": "scanpy-oom-report"})
    assert "body" not in {tag for tag, _ in parsed.elements}
    (style,) = parsed.text("style")
    selectors = [line.partition("{")[0] for line in style.splitlines() if "{" in line and not line.startswith("@")]
    assert all(".scanpy-oom-report" in one for selector in selectors for one in selector.split(","))


CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)


@pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium to open the page in")
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_browser_shows_the_page(scheme: str, report: Report, tmp_path: Path) -> None:
    path, picture = tmp_path / "report.html", tmp_path / "picture.png"
    report.to_html(path)
    arguments = [
        "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--hide-scrollbars",
        "--disable-background-networking", "--disable-component-update", "--disable-sync", "--window-size=1200,1000",
        f"--user-data-dir={tmp_path / 'profile'}", f"--screenshot={picture}",
        f"--blink-settings=preferredColorScheme={'01'[scheme == 'light']}",
    ]  # fmt: skip
    assert CHROMIUM is not None
    subprocess.run([CHROMIUM, *arguments, path.as_uri()], check=True, capture_output=True, timeout=120)
    image = pytest.importorskip("matplotlib.image").imread(picture)[..., :3]
    paper, ink = image[2, 2].mean(), image.reshape(-1, 3).mean(axis=1)
    assert paper > 0.9 if scheme == "light" else paper < 0.2
    assert (abs(ink - paper) > 0.3).mean() > 0.01  # there is something on the paper
    colours = {tuple(colour) for colour in (image.reshape(-1, 3) * 255).round().astype(int).tolist()}
    assert ((11, 110, 138) if scheme == "light" else (76, 184, 214)) in colours
