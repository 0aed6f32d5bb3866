"""A project of a user of the plugin, whose suites run with a made-up builder in pytest processes of their own."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from harness.results import Store
from tests import forked
from tests.environment import python_path
from tests.outside import persons_environment

REPOSITORY = Path(__file__).parents[2]
WORDS = "eng-us\tcat\tcat\neng-us\tdog\tdog,dogz\nfra\tchat\tchut\n"


WHEN_SECONDS = 30.0


class Project:
    """A project whose suites run with a made-up builder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(exist_ok=True)
        (folder / "words.tsv").write_text(WORDS)
        (folder / "pytest.ini").write_text("[pytest]\n")
        self.behave()

    def behave(self, body: str = "everything()", fail: str = "", wrong: str = "", more: str = "") -> None:
        (self.folder / "conftest.py").write_text(
            "import pathlib\n"
            "from tests.plugin.fake_builder import FakeBuilder\n"
            "def pytest_harness_builder(config, notice):\n"
            f"    return FakeBuilder(pathlib.Path({str(self.folder / 'made')!r}), {body!r}, {fail!r}, {wrong!r})\n"
            f"{more}"
        )

    def command(self, *arguments: str) -> list[str]:
        return [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-p", "no:hypothesispytest", *arguments]

    def environment(self) -> dict[str, str]:
        # On CI pytest repeats whole messages in its closing lines; what a person at a terminal sees is tested.
        return persons_environment() | {
            "PYTHONPATH": python_path(REPOSITORY),
            "TMPDIR": str(self.folder),
            "COLUMNS": "150",
        }

    def pytest(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return forked.run(self.command(*arguments), cwd=self.folder, env=self.environment())

    def interrupted(
        self, *arguments: str, when: Callable[[], bool], number: signal.Signals = signal.SIGINT
    ) -> tuple[int, str]:
        """Start pytest, send it the signal once ``when`` is so; its exit status and what it printed."""
        with subprocess.Popen(
            self.command(*arguments),
            cwd=self.folder,
            env=self.environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        ) as process:
            until = time.monotonic() + WHEN_SECONDS
            while not when() and time.monotonic() < until:
                time.sleep(0.02)
            process.send_signal(number)
            out, _ = process.communicate(timeout=60)
        return process.returncode, out

    def suites(self, *arguments: str, device: str = "host") -> subprocess.CompletedProcess[str]:
        return self.pytest(
            *["suites", "--device", device, "--words", "words.tsv", "--repeat", "4", "--pair-seconds", "0.1"],
            *arguments,
        )

    @property
    def store(self) -> Store:
        return Store(self.folder / "results")
