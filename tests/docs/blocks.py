"""The code blocks of pages: which are run, what they print, and how a shown output is compared with a real one.

A block of ``sh`` is run, in the page's order, in one folder. One that cannot be run here has a title from ``MARKS``,
which the site shows above it. ``title="FILE"`` at another block is a file that the reader saves; a ``diff`` is applied.
A block of ``text`` with the title ``output`` is what the commands before it print: numbers may differ, ``…`` is for any
text in a line, and a line of ``…`` alone is for any lines. A comment ``# exit status 1`` is a command's exit status.
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from tests import forked
from tests.outside import persons_environment

ROOT = Path(__file__).parents[2]
MARKS = {
    "needs a phone": "an Android phone over adb",
    "needs an iPhone": "an iPhone, a certificate and a provisioning profile",
    "needs a Mac": "Xcode",
    "needs a lab": "phones of other hosts, or a store that is shared",
    "needs the network": "a package registry or a model hub",
    "needs a checkout": "the repository, whose state it changes or whose tests it runs",
    "takes minutes": "compiles or measures for longer than a test of pages may; other tests run these commands",
    "a template": "placeholders for names that the reader has",
}
"""Titles of blocks that are not run, with what the machine of a test lacks. Their commands' options are checked."""
SHELLS = ("sh", "bash", "console")
_FENCE = re.compile(
    r"^(?P<indent> *)(?P<fence>```+)(?P<language>\w*)(?P<info>[^\n]*)\n(?P<body>.*?)^(?P=indent)(?P=fence) *$",
    re.DOTALL | re.MULTILINE,
)
_SIMPLE = re.compile(r"^(harness|pytest)( [\w./:=,*'\"()<>~+ -]+)?$")
_EXIT = re.compile(r"# exit status (\d)\b")
_NUMBER = r"[-+]?\d[\d.,:]*(?:e[-+]\d+)?(?: (?:ns|µs|ms|s|kB|MB|GB)\b)?"
_RUN = r"\d{8}-\d{6}-\d{3}-[0-9a-f]{4}"
_LOOSE = re.compile(rf"…|{_RUN}|(?<![A-Za-z\d]){_NUMBER}|\s+")


@dataclass(frozen=True)
class Block:
    """A fenced block of a page."""

    page: Path
    line: int
    language: str
    title: str
    body: str
    span: tuple[int, int] = (0, 0)

    @property
    def place(self) -> str:
        return f"{self.page.relative_to(ROOT)}:{self.line}"

    @property
    def is_output(self) -> bool:
        return self.language == "text" and self.title == "output"


def blocks(page: Path) -> list[Block]:
    """Every fenced block of a page; an indented one without its indentation."""
    source = page.read_text(encoding="utf-8")
    found = []
    for match in _FENCE.finditer(source):
        indent, body = match["indent"], match["body"]
        lines = [line.removeprefix(indent) for line in body.splitlines(keepends=True)]
        title = re.search(r'title="([^"]*)"', match["info"])
        found.append(
            Block(
                page=page,
                line=source.count("\n", 0, match.start()) + 1,
                language=match["language"],
                title=title[1] if title else "",
                body="".join(lines),
                span=match.span("body"),
            )
        )
    return found


def commands(body: str) -> Iterator[tuple[str, int]]:
    """Each command of a block without its comment, with the exit status that it is to have."""
    for line in body.replace("\\\n", " ").splitlines():
        status = _EXIT.search(line)
        command = re.sub(r"(^|\s)#.*$", "", line).strip()
        if command:
            yield (
                " ".join(command.split()) if "'" not in command and '"' not in command else command,
                int(status[1]) if status else 0,
            )


@dataclass
class Reader:
    """Follows pages in a folder, and keeps what each block printed."""

    folder: Path
    printed: dict[tuple[Path, int], str] = field(default_factory=dict)

    def follow(self, page: Path, within: str = ".") -> list[tuple[Block, str]]:
        """Do what each block asks for; returns each shown output with what was really printed."""
        shown, printed, folder = [], "", self.folder / within
        for block in blocks(page):
            if block.is_output:
                shown.append((block, printed))
            elif block.language in SHELLS and block.title not in MARKS:
                printed = ""
                for command, status in commands(block.body):
                    if command.startswith("cd "):
                        folder = folder / command[3:]
                        continue
                    done = self.run(command, folder)
                    printed += done.stdout
                    assert done.returncode == status, (
                        f"{block.place}: {command}: exit status {done.returncode}\n{done.stdout}\n{done.stderr}"
                    )
            elif block.language == "diff":
                subprocess.run(["git", "apply", "--recount", "-"], cwd=folder, input=block.body, text=True, check=True)
            elif block.title and block.title not in MARKS and block.language != "text":
                (folder / block.title).parent.mkdir(parents=True, exist_ok=True)
                (folder / block.title).write_text(block.body, encoding="utf-8")
        return shown

    def run(self, command: str, folder: Path) -> subprocess.CompletedProcess[str]:
        """Run a command; the harness and pytest in a process that has loaded their packages already."""
        # An interpreter's own settings are nothing that a forked process can heed.
        mine = {k: v for k, v in persons_environment().items() if k == "PYTHONPATH" or not k.startswith("PYTHON")}
        environment = mine | {"GIT_CEILING_DIRECTORIES": str(self.folder.parent)}
        if _SIMPLE.match(command):
            tool, *arguments = shlex.split(command)
            module = {"pytest": ["pytest", "-p", "no:cacheprovider"], "harness": ["harness.cli"]}[tool]
            return forked.run([sys.executable, "-m", *module, *arguments], cwd=folder, env=environment, timeout=900)
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        return subprocess.run(
            ["bash", "-ec", command],
            cwd=folder,
            env=environment | {"PATH": path},
            capture_output=True,
            text=True,
            check=False,
            timeout=900,
        )


def renewed(shown: str, printed: str) -> str:
    """The shown output with the numbers that were printed; raises ValueError for a line that was not printed."""
    lines = printed.splitlines()
    result, place, anywhere = [], 0, False
    for line in shown.splitlines():
        if line.strip() == "…":
            anywhere = True
            result.append(line)
            continue
        while place < len(lines) and (new := _renewed(line, lines[place])) is None and anywhere:
            place += 1
        if place >= len(lines) or new is None:
            raise ValueError(f"not printed: {line}\nprinted:\n{printed}")
        result.append(new)
        place, anywhere = place + 1, False
    if place < len(lines) and not anywhere:
        raise ValueError(f"also printed: {lines[place]}\nprinted:\n{printed}")
    return "".join(f"{line}\n" for line in result)


def _renewed(shown: str, printed: str) -> str | None:
    parts, place = [], 0
    for loose in _LOOSE.finditer(shown.rstrip()):
        parts += [re.escape(shown[place : loose.start()]), _pattern(loose[0])]
        place = loose.end()
    match = re.fullmatch("".join([*parts, re.escape(shown.rstrip()[place:])]), printed.rstrip())
    if match is None:
        return None
    new, place = "", 0
    for loose, real in zip(_LOOSE.finditer(shown.rstrip()), match.groups(), strict=True):
        new += shown[place : loose.start()] + ("…" if loose[0] == "…" else real)
        place = loose.end()
    return (new + shown.rstrip()[place:]).rstrip()


def _pattern(loose: str) -> str:
    if loose == "…":
        return "(.*?)"
    if loose.isspace():
        return r"(\s+)"
    return f"({_RUN})" if re.fullmatch(_RUN, loose) else f"({_NUMBER})"
