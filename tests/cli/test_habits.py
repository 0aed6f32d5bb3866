"""What people expect of any command: version, help, completion, colours, pipes, exit codes."""

from __future__ import annotations

import os
import pty
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from typer.main import get_command

from harness.cli import app
from harness.cli.app import load_commands
from harness.cli.options import MarkdownCommand
from tests import forked
from tests.cli.called import call
from tests.results.samples import make_run

REPOSITORY = Path(__file__).parents[2]
HARNESS = (sys.executable, "-m", "harness.cli")
LEFT_OUT = ("NO_COLOR", "FORCE_COLOR", "TERM", "PY_COLORS", "PYTHONUNBUFFERED", "HARNESS_TRACEBACK")


def environment(**more: str) -> dict[str, str]:
    """This one's without what changes the output."""
    kept = {name: value for name, value in os.environ.items() if name not in LEFT_OUT}
    return kept | {"PYTHONPATH": os.pathsep.join([str(REPOSITORY), os.environ.get("PYTHONPATH", "")])} | more


def process(*arguments: str, cwd: Path = REPOSITORY, **variables: str) -> subprocess.CompletedProcess[str]:
    """Forked from one that has imported the packages, unless an interpreter has to start to heed a variable."""
    command, variables = [*HARNESS, *arguments], environment(**variables)
    if any(name.startswith("PYTHON") and name != "PYTHONPATH" for name in variables):
        return subprocess.run(command, capture_output=True, text=True, timeout=120, cwd=cwd, env=variables, check=False)
    return forked.run(command, cwd=cwd, env=variables)


def on_terminal(*arguments: str, **variables: str) -> str:
    """What a terminal would get of standard output and error."""
    ours, theirs = pty.openpty()
    with subprocess.Popen(
        [*HARNESS, *arguments], stdout=theirs, stderr=theirs, cwd=REPOSITORY, env=environment(**variables)
    ) as running:
        os.close(theirs)
        output = b""
        while True:
            try:
                part = os.read(ours, 1 << 16)
            except OSError:  # the other side was closed
                break
            if not part:
                break
            output += part
        running.wait(60)
    os.close(ours)
    return output.decode()


def paths() -> list[tuple[str, ...]]:
    """Every command, groups included."""
    load_commands()

    def below(command: object, path: tuple[str, ...]) -> list[tuple[str, ...]]:
        found: dict[str, object] = getattr(command, "commands", {})
        return [path, *(one for name, sub in found.items() for one in below(sub, (*path, name)))]

    return below(get_command(app), ())


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    done = call(capsys, "--version")
    assert done.code == 0
    assert re.fullmatch(r"harness \d+\.\d+\S*\n", done.out)


@pytest.mark.parametrize("path", paths(), ids=" ".join)
def test_help_of_every_command(path: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    long, short = call(capsys, *path, "--help"), call(capsys, *path, "-h")
    assert (long.code, long.err) == (0, "")
    assert short == long
    assert "Example" in long.out
    assert f"harness {' '.join(path)}".strip() in long.out.partition("Example")[2]


@pytest.mark.programs
def test_completion(tmp_path: Path) -> None:
    run = make_run(tmp_path / "results")

    def complete(line: str) -> list[str]:
        words = line.split(" ")
        done = process(cwd=tmp_path, _HARNESS_COMPLETE="complete_bash", COMP_WORDS=line, COMP_CWORD=str(len(words) - 1))
        assert done.stderr == ""
        return done.stdout.split()

    assert complete("harness sho") == ["show"]
    assert complete("harness runs r") == ["rm"]
    assert complete("harness show ") == ["latest", run.run_id]
    assert complete("harness show --js") == ["--json"]
    assert complete("harness nightly --device virtual-") == ["virtual-android", "virtual-ios"]
    assert complete(f"harness show --results-dir {tmp_path}/none ") == ["latest"]
    for shell, completes in (("bash", "complete -o"), ("zsh", "compdef"), ("fish", "complete --command harness")):
        script = process(_HARNESS_COMPLETE=f"source_{shell}").stdout
        assert completes in script
    assert "--install-completion" in process("--help", TERM="dumb").stdout


@pytest.mark.programs
def test_colours(tmp_path: Path) -> None:
    make_run(tmp_path)
    runs = ("runs", "--results-dir", str(tmp_path))
    colour = re.compile(r"\x1b\[(\d+;)*(3\d|9\d)m")
    assert colour.search(on_terminal(*runs, TERM="xterm-256color"))
    assert not colour.search(on_terminal(*runs, TERM="xterm-256color", NO_COLOR="1"))
    assert "\x1b" not in on_terminal(*runs, TERM="dumb")
    assert "\x1b" not in on_terminal("runs", "--help", TERM="dumb")
    assert "\x1b" not in process(*runs, TERM="xterm-256color").stdout
    assert colour.search(process(*runs, FORCE_COLOR="1").stdout)
    assert "\x1b" not in process(*runs, "--json", FORCE_COLOR="1").stdout
    assert "\x1b" not in on_terminal(*runs, "--json", TERM="xterm-256color")


@pytest.mark.programs
@pytest.mark.parametrize(
    "arguments", [("runs",), ("runs", "--json"), ("show",), ("show", "--json"), ("runs", "--help")]
)
def test_a_reader_that_goes_away(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    make_run(tmp_path / "results")
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run(
        [*HARNESS, *arguments],
        stdout=writing,
        stderr=subprocess.PIPE,
        text=True,
        cwd=tmp_path,
        env=environment(),
        timeout=60,
        check=False,
    )
    os.close(writing)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.programs
@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_the_exit_code_and_the_files_outlive_the_reader(tmp_path: Path, unbuffered: str) -> None:
    """``nights … | head`` still writes what CI asked for."""
    script = (
        "import typer\nfrom harness.cli import app, main\n@app.command()\ndef talk() -> None:\n"
        "    for _ in range(10_000):\n        print('talk' * 100)\n"
        f"    open({str(tmp_path / 'written')!r}, 'w').close()\n    raise typer.Exit(1)\nmain(['talk'])"
    )
    reading, writing = os.pipe()
    with subprocess.Popen(
        [sys.executable, "-c", script],
        stdout=writing,
        stderr=subprocess.PIPE,
        env=environment(PYTHONUNBUFFERED=unbuffered),
        text=True,
    ) as running:
        os.close(writing)
        assert os.read(reading, 4) == b"talk"
        os.close(reading)
        _, err = running.communicate(timeout=60)
    assert (running.returncode, err) == (1, "")
    assert (tmp_path / "written").exists()


@pytest.mark.programs
def test_a_full_disk_behind_standard_output() -> None:
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [*HARNESS, "schema"], stdout=full, stderr=subprocess.PIPE, text=True, env=environment(), check=False
        )
    assert done.returncode == 3
    assert done.stderr.startswith("harness: ")
    assert "No space left" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.programs
def test_an_ascii_terminal_gets_escapes_instead_of_an_error(tmp_path: Path) -> None:
    make_run(tmp_path)
    done = process("show", "--results-dir", str(tmp_path), PYTHONIOENCODING="ascii", PYTHONUTF8="0")
    assert done.returncode == 0, done.stderr
    assert "\\xd7" in done.stdout


FAULTS = {
    "ok": ("return", 0, ""),
    "mismatch": ("raise typer.Exit(1)", 1, ""),
    "usage": ("raise UsageError('wrong', cure='do right')", 2, "harness: wrong\n  → do right\n"),
    "option": ("raise typer.BadParameter('odd')", 2, "harness: Invalid value: odd\n  → harness fail --help\n"),
    "infrastructure": ("raise HarnessError('broken')", 3, "harness: broken\n"),
    "inconclusive": ("raise typer.Exit(3)", 3, ""),
    "interrupted": ("raise KeyboardInterrupt", 130, "harness: interrupted\n"),
    "refused": ("raise typer.Abort", 130, "harness: interrupted\n"),
    "terminal": ("raise HarnessError('\\x1b[31m')", 3, "harness: \\x1b[31m\n"),
}


@pytest.mark.parametrize("kind", FAULTS)
def test_exit_codes(kind: str) -> None:
    statement, code, message = FAULTS[kind]
    done = failing(statement)
    assert (done.returncode, done.stdout, done.stderr) == (code, "", message)


def failing(statement: str, **variables: str) -> subprocess.CompletedProcess[str]:
    script = (
        "import typer\nfrom harness.cli import app, main\nfrom harness.core.errors import HarnessError, UsageError\n"
        f"@app.command()\ndef fail() -> None:\n    secret = 'a local variable'\n    {statement}\nmain(['fail'])"
    )
    return forked.run([sys.executable, "-c", script], env=environment(**variables))


def test_an_unexpected_error_shows_how_to_see_more() -> None:
    done = failing("raise ValueError('two\\nlines')")
    assert (done.returncode, done.stdout) == (3, "")
    assert done.stderr.splitlines()[0] == "harness: unexpected ValueError: two lines"
    assert "HARNESS_TRACEBACK=1" in done.stderr
    assert "Traceback" not in done.stderr
    shown = failing("raise ValueError('two\\nlines')", HARNESS_TRACEBACK="1")
    assert shown.returncode == 3
    assert "Traceback" in shown.stderr
    assert "a local variable" not in shown.stderr.replace("secret = 'a local variable'", "")
    of_system = failing("open('/nowhere/at/all')")
    assert of_system.returncode == 3
    assert of_system.stderr.startswith("harness: /nowhere/at/all: No such file or directory\n  → ")


@pytest.mark.programs
def test_sigint_ends_a_command_with_130() -> None:
    with subprocess.Popen(
        [sys.executable, "-c", "import os, signal\nfrom harness.cli import app, main\n@app.command()\n"
         "def wait() -> None:\n    os.kill(os.getpid(), signal.SIGINT)\n    signal.pause()\nmain(['wait'])"],
        stderr=subprocess.PIPE, text=True, env=environment(),
    ) as running:  # fmt: skip
        _, err = running.communicate(timeout=60)
    assert (running.returncode, err) == (130, "harness: interrupted\n")
    assert signal.SIGINT + 128 == 130


def test_the_page_about_commands_names_every_command_and_code() -> None:
    text = (REPOSITORY / "docs/cli.md").read_text(encoding="utf-8")
    for code in (0, 1, 2, 3, 130):
        assert f"| {code} |" in text
    options = {
        option
        for path in paths()
        for option in options_of(path)
        if option in ("--output", "--output-dir", "--markdown", "--junit", "--html", "--bundle", "--trace")
    }
    assert all(f"`{option} " in text for option in options)


def options_of(path: tuple[str, ...]) -> list[str]:
    command: object = get_command(app)
    for name in path:
        command = getattr(command, "commands")[name]  # noqa: B009
    return [
        option
        for parameter in getattr(command, "params")  # noqa: B009
        if not getattr(parameter, "hidden", False)
        for option in parameter.opts
    ]


def test_output_options_have_one_name() -> None:
    known = {"--output", "--output-dir", "--markdown", "--junit", "--html", "--bundle", "--trace"}
    for path in paths():
        options = set(options_of(path))
        assert not {option for option in options if option.startswith("--out")} - known, path
        assert not options & {"--parquet", "--file", "--dest"}, path


def test_former_names_still_work_and_warn(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HARNESS_CACHE_DIR", str(tmp_path / "cache"))
    make_run(tmp_path / "results")
    old = call(capsys, "report", "--out", "old.html")
    assert (old.code, Path("old.html").is_file()) == (0, True)
    assert old.err == "harness: --out is deprecated and will go away; it is called --output now\n"
    assert call(capsys, "report", "-o", "new.html").err == ""
    export = call(capsys, "export", "--parquet", "history")
    assert (export.code, Path("history/runs.parquet").is_file()) == (0, True)
    assert "--output-dir" in export.err


def test_markdown_with_and_without_a_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    run = make_run(tmp_path / "results")
    printed = call(capsys, "show", "latest", "--markdown").out
    assert printed.startswith(f"# Run {run.run_id}")
    assert call(capsys, "show", "--markdown=-").out == printed
    assert call(capsys, "show", "--markdown", "-").out == printed
    assert call(capsys, "show", "--markdown", "--results-dir", "results").out == printed
    written = call(capsys, "show", "--markdown", "report.md")
    assert (written.code, written.out) == (0, "")
    call(capsys, "show", "--markdown", "report.md")
    assert Path("report.md").read_text() == printed * 2
    load_commands()
    for path in paths():
        if "--markdown" in options_of(path):
            command: object = get_command(app)
            for name in path:
                command = getattr(command, "commands")[name]  # noqa: B009
            assert isinstance(command, MarkdownCommand), path


@pytest.mark.programs
def test_run_and_bench_are_pytest() -> None:
    """Collecting only, which needs no device; the options go through as they are."""
    run = process("run", "--collect-only", "-q", "--device", "host")
    assert run.returncode == 0, run.stdout + run.stderr
    assert "test_parity.py" in run.stdout
    bench = process("bench", "--collect-only", "-q", "--device", "host")
    assert bench.returncode == 0, bench.stdout + bench.stderr
    assert "test_latency.py" in bench.stdout
    assert "test_parity.py" not in bench.stdout
    wrong = process("run", "--nonsense")
    assert wrong.returncode != 0
    assert process("run").returncode == 2  # no device was named
