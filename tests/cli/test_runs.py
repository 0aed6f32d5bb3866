"""The commands about runs, as a person calls them: real processes, real folders."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from harness.results import Store
from tests import forked
from tests.results.samples import make_run

REPOSITORY = Path(__file__).parents[2]


def harness(*arguments: str) -> subprocess.CompletedProcess[str]:
    return forked.run([sys.executable, "-m", "harness.cli", *arguments], cwd=REPOSITORY)


def test_help_names_every_command_with_examples() -> None:
    text = harness("--help").stdout
    assert all(name in text for name in ("runs", "show", "compare"))
    for name in ("runs", "show", "compare"):
        done = harness(name, "--help")
        assert done.returncode == 0
        assert f"harness {name}" in done.stdout


def test_nothing_yet(tmp_path: Path) -> None:
    listed = harness("runs", "--results-dir", str(tmp_path))
    assert (listed.returncode, listed.stdout) == (0, "")
    assert "pytest suites --device host" in listed.stderr
    shown = harness("show", "latest", "--results-dir", str(tmp_path))
    assert shown.returncode == 2
    assert shown.stderr.startswith("harness: there are no runs in")
    assert "Traceback" not in shown.stderr


def test_listing_whole_broken_and_unfinished_runs(tmp_path: Path) -> None:
    whole, failed, unfinished = make_run(tmp_path), make_run(tmp_path, wrong=("w0",)), make_run(tmp_path, ended=False)
    damaged = tmp_path / "20990101-000000-000-aaaa"
    damaged.mkdir()
    done = harness("runs", "--results-dir", str(tmp_path))
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert [line.split()[0] for line in lines[1:]] == [
        damaged.name,
        unfinished.run_id,
        failed.run_id,
        whole.run_id,
    ]
    assert "damaged" in lines[1]
    assert "incomplete" in lines[2]
    assert "fail" in lines[3]
    assert " pass " in lines[4]
    limited = harness("runs", "--results-dir", str(tmp_path), "--limit", "1")
    assert "and 3 older ones" in limited.stderr


def test_show(tmp_path: Path) -> None:
    run = make_run(tmp_path, wrong=("w2",))
    done = harness("show", run.run_id[:18], "--results-dir", str(tmp_path))
    assert done.returncode == 0, done.stderr
    title, verdict = done.stdout.strip().splitlines()[:2]
    assert title == f"Run {run.run_id}"
    assert verdict.startswith("FAIL")
    for text in ("fra 'chat': mismatch at step 0", "median per word, ms", "peak memory", "50.0 MB", "test cpu", "PER"):
        assert text in done.stdout
    markdown = harness("show", "latest", "--markdown", "--results-dir", str(tmp_path)).stdout
    assert markdown.startswith(f"# Run {run.run_id}\n\n**FAIL")
    assert "| median per word, ms |" in markdown


def test_compare(tmp_path: Path) -> None:
    make_run(tmp_path)
    make_run(tmp_path, scale=1.5, seed=2, device="other cpu")
    done = harness("compare", "latest~1", "latest", "--results-dir", str(tmp_path))
    assert done.returncode == 0, done.stderr
    assert "measured apart" in done.stdout
    assert "slower" not in done.stdout
    assert "another device: A has host (test cpu), B has host (other cpu)" in done.stdout
    markdown = harness("compare", "latest~1", "latest", "--markdown", "--results-dir", str(tmp_path)).stdout
    assert "| p99, ms |" in markdown
    assert "## Latency" in markdown


def test_compare_refuses_runs_that_share_nothing(tmp_path: Path) -> None:
    make_run(tmp_path)
    with Store(tmp_path).create():
        pass
    done = harness("compare", "latest~1", "latest", "--results-dir", str(tmp_path))
    assert done.returncode == 2
    assert "share no measured word" in done.stderr


def test_wrong_usage(tmp_path: Path) -> None:
    make_run(tmp_path)
    for arguments in (("compare", "latest"), ("nonsense",), ("show", "--nonsense"), ("show", "12345")):
        done = harness(*arguments, *(() if len(arguments) == 1 else ("--results-dir", str(tmp_path))))
        assert done.returncode == 2, arguments
        assert "Traceback" not in done.stderr


@pytest.mark.programs
def test_commands_about_runs_load_no_framework(tmp_path: Path) -> None:
    make_run(tmp_path)
    script = (
        "import sys\nfrom harness.cli import main\n"
        f"try: main(['show', 'latest', '--results-dir', {str(tmp_path)!r}])\n"
        "finally: print([name for name in ('torch', 'tvm', 'transformers') if name in sys.modules], file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, cwd=REPOSITORY, check=True)
    assert done.stderr.strip() == "[]"


@pytest.mark.programs
@pytest.mark.parametrize("delay", [0.0, 0.5])
def test_ctrl_c_exits_with_130_and_without_a_traceback(delay: float) -> None:
    script = (
        "import time\nfrom harness.cli import app, main\n"
        "@app.command()\ndef wait() -> None:\n    print('waiting', flush=True)\n"
        # A signal that comes just before the only sleep begins would not end it.
        "    for _ in range(600):\n        time.sleep(0.1)\n"
        "main(['wait'])"
    )
    with subprocess.Popen(
        [sys.executable, "-c", script], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=REPOSITORY
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "waiting\n"
        time.sleep(delay)
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=20)
    assert process.returncode == 130
    assert "Traceback" not in err
