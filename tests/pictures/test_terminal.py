"""The recorded session: what is left out of it, and what the file may hold."""

from __future__ import annotations

import re

from tools.gallery_pages import private_paths
from tools.write_terminal import COLUMNS, FILE, LONGEST_PAUSE, SESSION, Line, shortened, svg


def test_the_header_and_the_tables_are_left_out_visibly() -> None:
    output = """====== test session starts ======
platform linux -- Python
rootdir: /home/ana/harness
collected 6 items

suites/test_smoke.py .


----------- benchmark 'latency': 1 tests -----------
Name    Min
Legend:
  OPS: Operations Per Second, computed as 1 / Mean
harness show 1 --results-dir build/terminal
====== 6 passed ======"""
    assert [line.text for line in shortened(Line(7.0, text) for text in output.split("\n"))] == [
        "====== test session starts ======",
        "…",
        "collected 6 items",
        "",
        "suites/test_smoke.py .",
        "",
        "…",
        "harness show 1",
        "====== 6 passed ======",
    ]
    assert {line.pause for line in shortened([Line(7.0, "a"), Line(0.1, "b")])} == {LONGEST_PAUSE, 0.1}


def test_a_row_appears_at_its_moment() -> None:
    text = svg([Line(0.5, "\033[32mPASS\033[0m"), Line(1.0, "x" * (COLUMNS + 1)), Line(1.0, "end")])
    moments = dict(re.findall(r"\.l(\d+) \{ animation: waiting ([\d.]+)s; \}", text))
    assert moments == {"0": "0.50", "1": "1.50", "2": "1.50", "3": "2.50"}
    assert re.search(r'class="l0 terminal-r\d+"[^>]*>PASS<', text)
    assert re.search(r'class="l3 terminal-r\d+"[^>]*>end<', text)


def test_the_committed_session_holds_the_commands_and_nothing_private() -> None:
    text = FILE.read_text(encoding="utf-8")
    plain = re.sub(r"<[^>]+>", "", text).replace("&#160;", " ").replace("\u00a0", " ")
    for command in SESSION:
        assert " ".join(command) in plain
    assert "PASS" in plain
    assert private_paths(text) == []
    assert not re.search(r"<script|@import|https?:", text.replace('xmlns="http://www.w3.org/2000/svg"', ""))
    assert len(text) < 60_000
