"""Tables are aligned as text, and escaped as HTML."""

from __future__ import annotations

from scanpy_oom.tables import Html, html_table, markdown_table, text_table


def test_text_is_aligned_and_has_no_spaces_at_the_end() -> None:
    assert text_table([["a", "1", "why"], ["bcd", "234", ""]], left=(0, 2)) == ["a      1  why", "bcd  234"]
    assert text_table([], left=()) == []


def test_markdown_has_numbers_on_the_right() -> None:
    assert markdown_table(["step", "s"], [["pca", "1"]]) == "| step | s |\n| --- | ---: |\n| pca | 1 |"


def test_html_is_escaped_but_for_what_is_html_already() -> None:
    rows = [('class="odd"', ["<i>", Html("<b>bold</b>")])]
    html = html_table(rows, ["", 'class="number"'], head=["x & y", "z"], foot=["", "2"], attributes='id="t"')
    assert html.replace("\n", "") == (
        '<table id="t"><thead><tr><th>x &amp; y</th><th class="number">z</th></tr></thead>'
        '<tbody><tr class="odd"><td>&lt;i&gt;</td><td class="number"><b>bold</b></td></tr></tbody>'
        '<tfoot><tr><td></td><td class="number">2</td></tr></tfoot></table>'
    )
    assert html_table([("", ["a"])], [""]).replace("\n", "") == "<table><tbody><tr><td>a</td></tr></tbody></table>"
