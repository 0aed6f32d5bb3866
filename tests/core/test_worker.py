"""Worker processes: results, errors with their cure, and death in the middle."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

from harness.core.errors import ExitCode
from harness.core.worker import WorkerError, WorkerFailed, WorkerProcess, WorkerSilent, run_worker

WORKER = """
import os, sys, time
from harness.core.errors import UsageError
from harness.core.worker import serve

asked = 0

def handle(request, progress):
    global asked
    asked += 1
    print("a library prints to standard output")
    progress("half way")
    if request["do"] == "refuse":
        raise UsageError("cannot do that", cure="do something else")
    if request["do"] == "die":
        print("last words", file=sys.stderr)
        sys.stderr.flush()
        os._exit(7)
    if request["do"] == "sleep":
        time.sleep(60)
    return {"twice": 2 * request.get("number", 0), "asked": asked}

serve(handle)
"""


@pytest.fixture
def worker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    (tmp_path / "a_worker.py").write_text(textwrap.dedent(WORKER))
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    return "a_worker"


def test_a_result_and_its_progress(worker: str) -> None:
    messages: list[str] = []
    assert run_worker(worker, {"do": "work", "number": 21}, messages.append) == {"twice": 42, "asked": 1}
    assert messages == ["half way"]


def test_an_error_keeps_its_cure_and_exit_code(worker: str) -> None:
    with pytest.raises(WorkerError, match="cannot do that") as caught:
        run_worker(worker, {"do": "refuse"}, lambda _text: None)
    assert caught.value.cure == "do something else"
    assert caught.value.exit_code is ExitCode.USAGE
    assert caught.value.kind == "UsageError"


def test_a_dead_worker_leaves_its_last_words(worker: str) -> None:
    with pytest.raises(WorkerFailed, match=r"status 7(.|\n)*last words"):
        run_worker(worker, {"do": "die"}, lambda _text: None)


def test_a_worker_that_stays_answers_one_request_after_the_other(worker: str) -> None:
    messages: list[str] = []
    with WorkerProcess(worker) as process:
        process.begin({"do": "work", "number": 1})
        process.begin({"do": "work", "number": 2})
        assert process.settle(messages.append) == {"twice": 4, "asked": 2}
        assert process.settle(messages.append) is None
        assert process.ask({"do": "work", "number": 3}, messages.append) == {"twice": 6, "asked": 3}
        with pytest.raises(WorkerError, match="cannot do that"):
            process.ask({"do": "refuse"}, messages.append)
        assert process.ask({"do": "work", "number": 4}, messages.append)["asked"] == 5
    assert messages == ["half way"] * 5
    assert not alive(process.pid)


def test_what_was_begun_and_refused_is_reported_to_the_next_request(worker: str) -> None:
    with WorkerProcess(worker) as process:
        process.begin({"do": "refuse"})
        with pytest.raises(WorkerError, match="cannot do that"):
            process.ask({"do": "work"}, lambda _text: None)


def test_a_silent_worker_is_ended(worker: str) -> None:
    with WorkerProcess(worker) as process:
        process.ask({"do": "work"}, lambda _text: None)
        with pytest.raises(WorkerSilent, match=r"a_worker gave no answer within 0\.2 s"):
            process.ask({"do": "sleep"}, lambda _text: None, deadline=0.2)
        with pytest.raises(WorkerFailed, match="status -9"):
            process.ask({"do": "work"}, lambda _text: None)


def test_a_killed_worker_is_reported_by_whatever_is_asked_of_it(worker: str) -> None:
    with WorkerProcess(worker) as process:
        process.ask({"do": "work"}, lambda _text: None)
        os.kill(process.pid, signal.SIGKILL)
        for _ in range(2):
            with pytest.raises(WorkerFailed, match="a_worker ended with status -9"):
                process.ask({"do": "work"}, lambda _text: None)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_a_worker_ends_with_its_parent(worker: str, number: signal.Signals) -> None:
    """Ctrl-C reaches both where a terminal sends it; here only the parent gets it, and then ends the child."""
    parent = f"""
from harness.core.worker import WorkerProcess
with WorkerProcess({worker!r}) as process:
    process.ask({{"do": "work"}}, print)
    print(process.pid, flush=True)
    process.ask({{"do": "{"sleep" if number is signal.SIGINT else "work"}"}}, print)
    import time; time.sleep(60)
"""
    with subprocess.Popen([sys.executable, "-c", parent], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        child = next(int(line) for line in process.stdout if line.strip().isdigit())
        process.send_signal(number)
        process.wait(timeout=60)
    until = time.monotonic() + 60
    while alive(child) and time.monotonic() < until:
        time.sleep(0.05)
    assert not alive(child)


def alive(pid: int) -> bool:
    """Whether it runs; one that has ended and was not waited for yet does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


@pytest.mark.programs
def test_deploying_and_reporting_import_neither_torch_nor_tvm() -> None:
    """The rooms a phone session uses must load without the large packages."""
    script = """
import sys
import harness.run.session, harness.pytest_plugin, harness.compiler, harness.native, harness.report
from harness.cli.app import load_commands
load_commands()
print([name for name in ("torch", "tvm", "transformers") if name in sys.modules])
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
