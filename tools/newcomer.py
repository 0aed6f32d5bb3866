"""Run the README's two commands as a newcomer does: HEAD in an empty folder, with an empty home and empty caches.

Twice: on a machine as it is, and on one with what developers of phones have lying about. Prints each command's time
and closing lines as the table that stands in docs/benchmarks.md. A newcomer has Rust: this machine's toolchain is
given to each home as a copy of its own (files of the compiler as links), without its registry's cache, so that
nothing that is installed there changes this machine. What is started ends with this program, Ctrl-C included.
"""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import os
import platform
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))

from tools.newcomer_scenes import SCENES, Scene, make_scene  # noqa: E402

COMMANDS = ("bench", "test")
DEADLINE_SECONDS = 5400.0
CLOSING = (
    r"^(PASS|FAIL|INCONCLUSIVE)\b.*",
    r"^(?:=+ )?\d+ (?:passed|failed).*",
    r"^test-rust: all passed.*",
    r"^setup: (?:PyTorch's build|installing the locked).*",
    r"^make: \*\*\*.*",
)
"""Lines of a log that show how it ended."""
CHILD_SUBREAPER = 36
"""Of Linux's prctl: what loses its parent becomes ours, so that daemons can be ended too."""


@dataclass(frozen=True)
class Phase:
    """One command in one scene, as it ended."""

    scene: str
    command: str
    seconds: float
    status: int
    closing: tuple[str, ...]
    log: Path

    @property
    def verdict(self) -> str:
        return "passed" if self.status == 0 else f"failed with status {self.status}"


def main() -> int:
    options = _options()
    logs = options.logs or Path(tempfile.mkdtemp(prefix="newcomer-logs-"))
    logs.mkdir(parents=True, exist_ok=True)
    _adopt_orphans()
    signal.signal(signal.SIGTERM, _interrupted)
    folder = Path(tempfile.mkdtemp(prefix="newcomer-", dir=options.folder)).resolve()
    commit = _git("rev-parse", "--short", "HEAD")
    if _git("status", "--porcelain"):
        _note("there are changes that are not committed: HEAD is tried, without them")
    _note(f"{commit} in {folder}, logs in {logs}")
    phases: list[Phase] = []
    try:
        for name in [options.only] if options.only else list(SCENES):
            with make_scene(name, folder / name, download_cache=options.download_cache, note=_note) as scene:
                phases += _try(scene, options.commands, logs)
            if not options.keep:
                _remove(folder / name)
    except KeyboardInterrupt:
        _note("interrupted")
        return 130
    finally:
        _end_descendants()
        if not options.keep:
            _remove(folder)
        if phases:
            print(table(phases, commit))
    return 0 if phases and all(phase.status == 0 for phase in phases) else 1


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", choices=SCENES, help="one scene instead of all")
    parser.add_argument(
        "--commands", type=_commands, default=COMMANDS, metavar="LIST", help="of bench,test (default: both, in a row)"
    )
    parser.add_argument("--keep", action="store_true", help="keep the folders, to look into")
    parser.add_argument("--folder", type=Path, help="where the folders are made (default: that of temporary files)")
    parser.add_argument("--logs", type=Path, help="where a log of each command is kept")
    parser.add_argument(
        "--download-cache",
        type=Path,
        metavar="FOLDER",
        help="keep downloads of uv and cargo there, and use those of the last time: for trying often",
    )
    options: argparse.Namespace = parser.parse_args()
    return options


def _commands(text: str) -> tuple[str, ...]:
    chosen = tuple(text.split(","))
    if not set(chosen) <= set(COMMANDS):
        raise argparse.ArgumentTypeError(f"{text} is not of {','.join(COMMANDS)}")
    return chosen


def _try(scene: Scene, commands: tuple[str, ...], logs: Path) -> Iterator[Phase]:
    subprocess.run(["git", "clone", "--quiet", "--no-hardlinks", str(ROOT), str(scene.checkout)], check=True)
    subprocess.run(
        ["git", "-C", str(scene.checkout), "checkout", "--quiet", "--detach", _git("rev-parse", "HEAD")], check=True
    )
    for command in commands:
        environment = scene.environment(command)
        log = logs / f"{scene.name}-{command}.log"
        _note(f"{scene.name}: make {command} (LANG={environment['LANG']}), see {log}")
        began = time.monotonic()
        status = _run(["make", command], scene, environment, log)
        text = log.read_text(encoding="utf-8", errors="replace")
        phase = Phase(scene.name, command, time.monotonic() - began, status, closing_lines(text), log)
        _note(f"{scene.name}: make {command} {phase.verdict} after {_time(phase.seconds)}")
        yield phase


def _run(command: list[str], scene: Scene, environment: dict[str, str], log: Path) -> int:
    """Run to the end in a process group of its own; every exit from here ends the group."""
    with log.open("wb") as stream:
        process = subprocess.Popen(
            command,
            cwd=scene.checkout,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=stream,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            umask=scene.umask,
        )
        until = time.monotonic() + DEADLINE_SECONDS
        try:
            while time.monotonic() < until:
                with contextlib.suppress(subprocess.TimeoutExpired):
                    return process.wait(timeout=1.0)
                _reap(but=process.pid)
            return 124
        finally:
            for number, patience in ((signal.SIGINT, 20.0), (signal.SIGKILL, 5.0)):
                if process.poll() is not None:
                    break
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, number)
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(timeout=patience)


def closing_lines(text: str) -> tuple[str, ...]:
    """Return the lines of a log that show how its parts ended, without colours."""
    plain = re.sub(r"\x1b\[[0-9;]*[A-Za-z]", "", text)
    lines = [line.strip().strip("=").strip() for line in plain.splitlines()]
    return tuple(line for line in lines if any(re.match(pattern, line) for pattern in CLOSING))


def table(phases: list[Phase], commit: str) -> str:
    """Return what docs/benchmarks.md shows of it, in Markdown."""
    who = "root" if os.geteuid() == 0 else "an ordinary user"
    rows = [
        f"| {phase.scene} | `make {phase.command}` | {_time(phase.seconds)} | {phase.verdict} |" for phase in phases
    ]
    closings = [f"{phase.scene}, make {phase.command}:\n" + "\n".join(phase.closing) for phase in phases]
    return "\n".join(
        [
            "",
            f"`tools/newcomer` of {commit} on {_machine()}, as {who}:",
            "",
            "| machine | command | time | |",
            "|---|---|---|---|",
            *rows,
            "",
            "```",
            "\n\n".join(closings),
            "```",
        ]
    )


def _machine() -> str:
    system = f"{platform.system()} {platform.machine()}"
    with contextlib.suppress(OSError):
        found = re.search(
            r'^PRETTY_NAME="?([^"\n]+)', Path("/etc/os-release").read_text(encoding="utf-8"), re.MULTILINE
        )
        system = f"{found[1]}, {platform.machine()}" if found else system
    return f"{system}, {os.cpu_count()} cores"


def _time(seconds: float) -> str:
    return f"{int(seconds) // 60} min {int(seconds) % 60} s"


def _git(*arguments: str) -> str:
    done = subprocess.run(
        ["git", "-C", str(ROOT), *arguments], check=True, capture_output=True, encoding="utf-8", errors="replace"
    )
    return done.stdout.strip()


def _interrupted(_number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def _adopt_orphans() -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(CHILD_SUBREAPER, 1, 0, 0, 0)


def _reap(*, but: int) -> None:
    """Let orphans that have ended go, as any machine's init does."""
    for process in _children() - {but}:
        with contextlib.suppress(ChildProcessError):
            os.waitpid(process, os.WNOHANG)


def _end_descendants() -> None:
    """End what outlived its command: an adb server that the harness started, a phone whose owner was killed."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        left = _descendants()
        for process in left:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(process, number)
        until = time.monotonic() + 5
        while left and _descendants() and time.monotonic() < until:
            with contextlib.suppress(ChildProcessError):
                os.waitpid(-1, os.WNOHANG)
            time.sleep(0.05)


def _children() -> set[int]:
    return {process for process, parent in _parents().items() if parent == os.getpid()}


def _descendants() -> list[int]:
    parents = _parents()
    found, new = set[int](), {os.getpid()}
    while new:
        new = {process for process, parent in parents.items() if parent in new} - found
        found |= new
    return sorted(found)


def _parents() -> dict[int, int]:
    parents: dict[int, int] = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError, ValueError, IndexError):
            parents[int(path.parent.name)] = int(
                path.read_text(errors="replace", encoding="utf-8").rsplit(")", 1)[1].split()[1]
            )
    return parents


def _remove(folder: Path) -> None:
    # Rust's and Go's caches are read-only in places.
    for path in [folder, *folder.rglob("*")] if folder.exists() else []:
        if path.is_dir() and not path.is_symlink():
            path.chmod(0o700)
    shutil.rmtree(folder, ignore_errors=True)


def _note(text: str) -> None:
    print(f"newcomer: {text}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
