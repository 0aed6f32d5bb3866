"""Worker processes: results, errors with their cure, and death in the middle."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from harness.errors import ExitCode
from harness.worker import WorkerError, WorkerFailed, run_worker

WORKER = """
import os, sys
from harness.errors import UsageError
from harness.worker import serve

def handle(request, progress):
    print("a library prints to standard output")
    progress("half way")
    if request["do"] == "refuse":
        raise UsageError("cannot do that", cure="do something else")
    if request["do"] == "die":
        print("last words", file=sys.stderr)
        sys.stderr.flush()
        os._exit(7)
    return {"twice": 2 * request["number"]}

serve(handle)
"""


@pytest.fixture
def worker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    (tmp_path / "a_worker.py").write_text(textwrap.dedent(WORKER))
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    return "a_worker"


def test_a_result_and_its_progress(worker: str) -> None:
    said: list[str] = []
    assert run_worker(worker, {"do": "work", "number": 21}, said.append) == {"twice": 42}
    assert said == ["half way"]


def test_an_error_keeps_its_cure_and_exit_code(worker: str) -> None:
    with pytest.raises(WorkerError, match="cannot do that") as caught:
        run_worker(worker, {"do": "refuse"}, lambda _text: None)
    assert caught.value.cure == "do something else"
    assert caught.value.exit_code is ExitCode.USAGE
    assert caught.value.kind == "UsageError"


def test_a_dead_worker_leaves_its_last_words(worker: str) -> None:
    with pytest.raises(WorkerFailed, match=r"status 7(.|\n)*last words"):
        run_worker(worker, {"do": "die"}, lambda _text: None)


def test_deploying_and_reporting_import_neither_torch_nor_tvm() -> None:
    """The rooms a phone session uses must load without the large packages."""
    script = """
import sys
import harness.session, harness.pytest_plugin, harness.compiler, harness.native, harness.report
from harness.cli.app import load_commands
load_commands()
print([name for name in ("torch", "tvm", "transformers") if name in sys.modules])
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
