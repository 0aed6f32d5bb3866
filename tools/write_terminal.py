"""Record a terminal session as an SVG file that plays once: real commands, their real output, shorter pauses.

python -m tools.write_terminal        # runs the commands again, half a minute with a filled cache

pytest's header and the tables of pytest-benchmark are left out, with an ellipsis in their place. Without animations, or
where a person asked for less motion, the file shows the end of the session.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from io import StringIO
from pathlib import Path

from rich.console import Console
from rich.text import Text

from harness.core.files import replacing

ROOT = Path(__file__).resolve().parent.parent
FILE = ROOT / "docs/images/terminal.svg"
RESULTS = "build/terminal"
SESSION = (
    ("pytest", "suites", "--device", "host", "--pair-seconds", "40"),
    ("harness", "runs"),
)
"""The commands. Each is given ``--results-dir``, which the recording does not show: its runs are nobody's."""
COLUMNS, LONGEST_PAUSE, TYPING, READING = 108, 0.9, 0.9, 1.2
"""The width of the terminal; seconds of a pause at most, for typing a command, and before the next one."""
_HEADER = re.compile(r"(platform|benchmark:|rootdir:|configfile:|plugins:) ?")
_TABLE = re.compile(r"-{3,} benchmark .*-{3,}")
_LEGEND_END = "OPS: Operations Per Second"
_OPENING = re.compile(r'<(?P<tag>text) class="(?P<rest>[^>]*?url\(#terminal-line-(?P<line>\d+)\)[^>]*)>')

FORMAT = """<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" role="img" \
aria-label="A terminal: the embedded model runs on this machine and is compared with PyTorch">
<style>
.terminal-matrix {{ font: {char_height}px ui-monospace, SFMono-Regular, Menlo, "DejaVu Sans Mono", monospace; }}
.terminal-title {{ font: bold 16px system-ui, "DejaVu Sans", sans-serif; }}
{styles}
@keyframes waiting {{ from, to {{ opacity: 0; }} }}
@media (prefers-reduced-motion: no-preference) {{
{moments}
}}
</style>
<defs><clipPath id="terminal-clip-terminal"><rect x="0" y="0" width="{terminal_width}" height="{terminal_height}"/>\
</clipPath>{lines}</defs>
{chrome}
<g transform="translate({terminal_x}, {terminal_y})" clip-path="url(#terminal-clip-terminal)">
{backgrounds}
<g class="terminal-matrix">{matrix}</g>
</g>
</svg>
"""


@dataclass(frozen=True)
class Line:
    """Hold a line of a session, and the seconds after the line before it."""

    pause: float
    text: str


def recorded(command: Sequence[str]) -> list[Line]:
    """Run a command of this environment; return its output, line by line. Raises CalledProcessError."""
    program = Path(sys.executable).with_name(command[0])
    colour = ("--color=yes",) if command[0] == "pytest" else ()
    process = subprocess.Popen(
        [program, *command[1:], *colour, "--results-dir", RESULTS],
        cwd=ROOT,
        env=os.environ | {"COLUMNS": str(COLUMNS)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        encoding="utf-8",
    )
    assert process.stdout is not None
    found, before = [], time.monotonic()
    for text in process.stdout:
        now = time.monotonic()
        found.append(Line(now - before, text.rstrip("\n")))
        before = now
    if process.wait():
        raise subprocess.CalledProcessError(process.returncode, command)
    return found


def shortened(lines: Iterable[Line]) -> list[Line]:
    """Return the lines with short pauses, and without pytest's header and the tables of pytest-benchmark."""
    found: list[Line] = []
    within_table = False
    for line in lines:
        plain = Text.from_ansi(line.text).plain
        starts = bool(_TABLE.match(plain))
        left_out = within_table or starts or bool(_HEADER.match(plain))
        within_table = (within_table or starts) and _LEGEND_END not in plain
        # The name of the folder of results is the recording's own.
        text = "…" if left_out else line.text.replace(f" --results-dir {RESULTS}", "")
        if left_out and found and found[-1].text == "…":
            continue
        if not plain.strip() and found and not Text.from_ansi(found[-1].text).plain.strip():
            continue
        found.append(Line(min(line.pause, LONGEST_PAUSE), text))
    return found


def session() -> list[Line]:
    """Record all commands, each behind a prompt."""
    shutil.rmtree(ROOT / RESULTS, ignore_errors=True)
    found: list[Line] = []
    for command in SESSION:
        found.append(Line(READING if found else 0.2, f"\033[1;32m$\033[0m \033[1m{' '.join(command)}\033[0m"))
        output = shortened(recorded(command))
        found += [Line(TYPING + output[0].pause, output[0].text), *output[1:]]
    return found


def svg(lines: Sequence[Line]) -> str:
    """Return the file's text. A terminal's row is hidden until its moment."""
    console = Console(record=True, width=COLUMNS, file=StringIO(), force_terminal=True, color_system="truecolor")
    moments: list[float] = []
    now = 0.0
    for line in lines:
        now += line.pause
        text = Text.from_ansi(line.text)
        rows = text.wrap(console, COLUMNS)
        moments += [now] * max(1, len(rows))
        console.print(text)
    times = "\n".join(f".l{at} {{ animation: waiting {moment:.2f}s; }}" for at, moment in enumerate(moments))
    form = FORMAT.replace("{moments}", times.replace("{", "{{").replace("}", "}}"))
    drawn = console.export_svg(title="harness", code_format=form, unique_id="terminal")
    return _OPENING.sub(lambda at: f'<{at["tag"]} class="l{at["line"]} {at["rest"]}>', drawn)


def main() -> None:
    lines = session()
    with replacing(FILE) as partial:
        partial.write_text(svg(lines), encoding="utf-8")


if __name__ == "__main__":
    main()
