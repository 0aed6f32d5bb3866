"""No control character of a device reaches a terminal, a log line, Markdown, a page or a report of a CI."""

from __future__ import annotations

import io
import json
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from harness.core.text import MOST, quoted, shown, shown_line
from harness.devices.android import attached_devices
from harness.devices.errors import DeviceLost
from harness.report import to_markdown, to_terminal
from harness.report.document import Block, Heading, Line, Table
from harness.report.html.page import _environment
from harness.report.progress import TerminalProgress
from tests.devices.android.conftest import Scene, scene  # noqa: F401
from tests.results.samples import make_run

EVIL = "\x1b[2J\x1b]0;owned\x07 red\x9b31m \u202egnp.exe\u202c \u2066x\u2069 a\x00b\x7f \ud800 \u2028 \U000e0041 end"
OBEYED = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\u2028\u2029\ud800-\udfff\U000e0000-\U000e007f]"
)
GOOD = "ˈwɔːtɚ  نمی‌خواهم  क्‍ष  ñ  שלום  é  \t–  👩‍💻"


def assert_fit(text: str) -> None:
    found = OBEYED.search(text)
    assert found is None, repr(text[max(0, found.start() - 20) : found.end() + 20])
    assert "\\x1b[2J" in text
    text.encode()


def test_what_would_be_obeyed_is_spelt_out() -> None:
    assert shown(EVIL) == (
        "\\x1b[2J\\x1b]0;owned\\x07 red\\x9b31m \\u202egnp.exe\\u202c \\u2066x\\u2069 a\\x00b\\x7f \\ud800 \\u2028 "
        "\\U000e0041 end"
    )
    assert shown(GOOD) == GOOD
    assert shown("a\r\nb\rc") == "a\nb\\x0dc"
    assert shown_line("a\nb\tc") == "a b c"


def test_a_very_long_text_is_cut() -> None:
    assert shown("x" * 10**6) == "x" * MOST + f"… ({10**6 - MOST} more characters)"
    assert len(shown_line("\x1b" * 10**6)) < 5 * MOST


@given(st.text())
def test_any_text_becomes_one_that_is_fit_and_stays_so(text: str) -> None:
    fit = shown(text)
    assert not OBEYED.search(fit)
    assert shown(fit) == fit or len(text) > MOST
    assert "\n" not in shown_line(text)


def test_long_names_are_cut() -> None:
    assert quoted("a b") == "'a b'"
    assert len(quoted("x" * 5000)) == 83


def test_errors() -> None:
    error = DeviceLost(f"device {EVIL} is gone", cure=f"look at {EVIL}")
    assert_fit(str(error))
    assert error.args[0] == f"device {EVIL} is gone"


BLOCKS: list[Block] = [
    Heading(f"Run on {EVIL}"),
    Line(f"it printed {EVIL}"),
    Table([EVIL, "b"], [[EVIL, f"x\n{EVIL}"]], note=EVIL, numbers=False),
]


def test_a_report_on_a_terminal_and_in_markdown() -> None:
    stream = io.StringIO()
    to_terminal(BLOCKS, Console(file=stream, width=400))
    assert_fit(stream.getvalue())
    markdown = to_markdown(BLOCKS)
    assert_fit(markdown.replace("\\\\", "\\").replace("\\[", "["))


def test_a_page() -> None:
    page = _environment({}).from_string("<p>{{ text }}</p><i>{{ '<b>' | safe }}</i>").render(text=f"<script>{EVIL}")
    assert_fit(page)
    assert page.startswith("<p>&lt;script&gt;")
    assert page.endswith("<i><b></i>")
    long = "QUJD" * 10**5
    assert _environment({}).from_string("{{ text }}").render(text=long) == long


def test_a_notice() -> None:
    stream = io.StringIO()
    with TerminalProgress(stream, who=EVIL).stage(f"pushing to {EVIL}") as stage:
        stage.describe(f"waiting for {EVIL}")
    assert_fit(stream.getvalue())
    assert len(stream.getvalue().splitlines()) == 1


@pytest.mark.parametrize("command", [["show", "latest"], ["show", "latest", "--markdown"], ["runs"]])
def test_a_stored_run_of_an_evil_device(tmp_path: Path, capsys: pytest.CaptureFixture[str], command: list[str]) -> None:
    make_run(tmp_path)
    (manifest,) = tmp_path.rglob("manifest.json")
    stored = json.loads(manifest.read_text())
    stored["device"]["name"] = EVIL.replace("\ud800", "")
    stored["reason"] = EVIL.replace("\ud800", "")
    manifest.write_text(json.dumps(stored))
    from harness.cli import main

    with pytest.raises(SystemExit):
        main([*command, "--results-dir", str(tmp_path)])
    out = capsys.readouterr().out
    assert not OBEYED.search(out), repr(out)
    assert "x1b" in out


def test_a_phone_with_an_evil_name(
    scene: Scene,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    scene.virtual.set_property("ro.product.model", EVIL.replace("\x00", "").replace("\ud800", "").replace("\u2028", ""))
    monkeypatch.setenv("ADB_SERVER_SOCKET", f"tcp:{scene.adb.port}")
    from harness.cli import main

    for arguments in (["devices"], ["devices", "--json"]):
        with pytest.raises(SystemExit):
            main(arguments)
        out = capsys.readouterr().out
        assert not OBEYED.search(out), repr(out)
        assert "owned" in out
    (seen,) = attached_devices()
    assert "\x1b" in str(seen.model)
