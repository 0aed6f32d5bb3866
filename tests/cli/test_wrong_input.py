"""What a newcomer gets wrong ends in one or two lines with what is wrong and what to do, with exit code 2 or 3."""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cli.called import Called, call
from tests.results.samples import make_run

NAMED: dict[str, tuple[str, ...]] = {
    "show": ("show", "NAME"),
    "profile": ("profile", "NAME"),
    "explain": ("explain", "NAME"),
    "report": ("report", "NAME", "--output", "PAGE"),
    "compare": ("compare", "NAME", "NAME"),
    "baseline set": ("baseline", "set", "NAME"),
    "runs rm": ("runs", "rm", "NAME", "--yes"),
}
"""Commands that take a run."""
OTHERS: dict[str, tuple[str, ...]] = {
    "baseline show": ("baseline", "show", "NAME"),
    "baseline rm": ("baseline", "rm", "NAME"),
    "nights": ("nights", "NAME"),
    "nightly --baseline": ("nightly", "--baseline", "NAME"),
    "nightly --resume": ("nightly", "--resume", "NAME"),
}
"""Commands that take something else that is stored."""
READING: dict[str, tuple[str, ...]] = {
    **NAMED,
    **OTHERS,
    "runs": ("runs",),
    "nights list": ("nights",),
    "baseline list": ("baseline", "list"),
    "query": ("query", "SELECT 1"),
    "export": ("export", "--output-dir", "PAGE"),
}
"""Every command with --results-dir."""
NO_RUN = {
    "missing": "20200101",
    "another folder": "../../etc",
    "absolute": "/etc/passwd",
    "empty glob": "*",
    "colours": "\x1b[31mred\x1b[0m",
    "right to left": "\u202etxt.exe",
    "unicode": "Größe-東京",
    "very long": "x" * 5000,
    "before the first": "latest~999",
    "no number": "latest~٣",
    "huge number": "latest~" + "9" * 40,
    "nul": "a\0b",
}


@pytest.fixture
def run_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Callable[..., Called]:
    def run(words: tuple[str, ...], name: str, *more: str) -> Called:
        page = str(tmp_path / "page.html")
        return call(capsys, *({"NAME": name, "PAGE": page}.get(word, word) for word in words), *more)

    return run


def is_clear(done: Called, code: int = 2) -> None:
    """Nothing on standard output, and a short message with a cure, fit for a terminal, on standard error."""
    assert (done.code, done.out) == (code, ""), done.err
    assert done.err.startswith("harness: ")
    assert "\n  → " in done.err
    assert len(done.err.splitlines()) <= 3, done.err
    assert len(done.err) < 1000
    assert "Traceback" not in done.err
    assert not [char for char in done.err if unicodedata.category(char) in ("Cc", "Cf") and char != "\n"]


@pytest.mark.parametrize("kind", NO_RUN)
@pytest.mark.parametrize("command", [*NAMED, *OTHERS])
def test_a_name_of_nothing(tmp_path: Path, run_command: Callable[..., Called], command: str, kind: str) -> None:
    make_run(tmp_path / "results")
    before = sorted(path for path in tmp_path.rglob("*") if path.name != ".lock")
    done = run_command((NAMED | OTHERS)[command], NO_RUN[kind], "--results-dir", str(tmp_path / "results"))
    is_clear(done)
    assert sorted(path for path in tmp_path.rglob("*") if path.name != ".lock") == before


@pytest.mark.parametrize("command", READING)
def test_a_results_folder_that_does_not_exist(
    tmp_path: Path, run_command: Callable[..., Called], command: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    named = run_command(READING[command], "latest", "--results-dir", str(tmp_path / "none"))
    is_clear(named)
    assert "--results-dir" in named.err
    a_file = tmp_path / "file"
    a_file.write_text("")
    of_file = run_command(READING[command], "latest", "--results-dir", str(a_file))
    is_clear(of_file)
    assert "is a file" in of_file.err
    is_clear(run_command(READING[command], "latest", "--results-dir", str(tmp_path / ("x" * 300))))
    # In a fresh checkout the cure is a first run.
    monkeypatch.chdir(tmp_path)
    fresh = run_command(READING[command], "latest")
    is_clear(fresh)
    assert "pytest suites --device host" in fresh.err


@pytest.mark.parametrize("command", [*NAMED, *OTHERS])
def test_an_empty_results_folder(tmp_path: Path, run_command: Callable[..., Called], command: str) -> None:
    is_clear(run_command((NAMED | OTHERS)[command], "latest", "--results-dir", str(tmp_path)))


@pytest.mark.parametrize("command", ["runs", "nights list", "baseline list"])
def test_a_list_of_nothing_is_empty(tmp_path: Path, run_command: Callable[..., Called], command: str) -> None:
    done = run_command(READING[command], "", "--results-dir", str(tmp_path))
    assert (done.code, done.out) == (0, "")
    assert "\n  → " in done.err
    as_json = run_command(READING[command], "", "--results-dir", str(tmp_path), "--json")
    assert (as_json.code, as_json.err) == (0, "")
    assert [] in json.loads(as_json.out).values()


@pytest.mark.parametrize("damage", ["newer", "no manifest", "no text", "not JSON", "a list", "a folder"])
@pytest.mark.parametrize("command", [name for name in NAMED if name != "runs rm"])
def test_a_run_that_cannot_be_read(
    tmp_path: Path, run_command: Callable[..., Called], command: str, damage: str
) -> None:
    manifest = make_run(tmp_path).folder / "manifest.json"
    if damage == "newer":
        manifest.write_text(json.dumps(json.loads(manifest.read_text()) | {"schema_version": 99}))
    elif damage in ("no manifest", "a folder"):
        manifest.unlink()
        if damage == "a folder":
            manifest.mkdir()
    else:
        manifest.write_bytes({"no text": b"\xff\xfe{", "not JSON": b'{"run_id', "a list": b"[]"}[damage])
    done = run_command(NAMED[command], "latest", "--results-dir", str(tmp_path))
    if command == "profile":  # which does not read the manifest, and finds no profile
        is_clear(done)
        return
    is_clear(done, 3)
    assert damage != "newer" or "update the harness" in done.err


def test_damaged_runs_are_listed(tmp_path: Path, run_command: Callable[..., Called]) -> None:
    manifest = make_run(tmp_path).folder / "manifest.json"
    manifest.write_text(json.dumps(json.loads(manifest.read_text()) | {"schema_version": 99}))
    listed = run_command(("runs",), "", "--results-dir", str(tmp_path))
    assert (listed.code, "schema version 99" in listed.out) == (0, True)
    row = json.loads(run_command(("runs", "--json"), "", "--results-dir", str(tmp_path)).out)["runs"][0]
    assert (row["status"], row["verdict"]) == ("damaged", None)


HOSTILE = "\x1b]0;title\x07\x9b31m\u202eevil\r\n\x00"


@pytest.mark.parametrize("arguments", [("runs",), ("show", "latest"), ("compare", "latest", "latest")])
@pytest.mark.parametrize("form", [(), ("--json",), ("--markdown",)])
def test_control_characters_in_stored_names_reach_no_terminal(
    tmp_path: Path, run_command: Callable[..., Called], arguments: tuple[str, ...], form: tuple[str, ...]
) -> None:
    if arguments == ("runs",) and form == ("--markdown",):
        form = ()
    run = make_run(tmp_path)
    manifest = json.loads((run.folder / "manifest.json").read_text())
    manifest["device"] |= {"name": HOSTILE, "cpu_model": HOSTILE}
    manifest["workloads"]["g2p"]["label"] = HOSTILE
    manifest["options"]["precision"] = HOSTILE
    manifest["reason"], manifest["status"] = HOSTILE, "incomplete"
    manifest["command"] = ["pytest", HOSTILE]
    (run.folder / "manifest.json").write_text(json.dumps(manifest))
    done = run_command(arguments, "", "--results-dir", str(tmp_path), *form)
    assert done.code == 0, done.err
    assert "evil" in done.out
    assert not [char for char in done.out if unicodedata.category(char) in ("Cc", "Cf") and char != "\n"]


@pytest.mark.parametrize(
    "arguments",
    [
        ("nonsense",),
        ("show", "--nonsense"),
        ("runs", "--limit", "many"),
        ("runs", "--limit", "-1"),
        ("runs", "rm"),
        ("runs", "rm", "--older-than", "soon"),
        ("runs", "rm", "--older-than", "-3d"),
        ("runs", "rm", "--keep", "-1"),
        ("runs", "rm", "--keep", "1", "--older-than", "3d"),
        ("cache", "prune"),
        ("cache", "prune", "--max-size", "big"),
        ("cache", "prune", "--older-than", "3"),
        ("cache", "nonsense"),
        ("compare", "latest"),
        ("query",),
        ("query", "DELETE FROM runs"),
        ("query", "SELECT nonsense FROM runs"),
        ("query", "SELECT 1", "--format", "yaml"),
        ("query", "SELECT 1", "--format", "csv", "--json"),
        ("export",),
        ("show", "--json", "--markdown"),
        ("show", "--markdown", "latest"),
        ("nightly",),
        ("nightly", "--baseline", "a", "--resume", "b"),
        ("nightly", "--baseline", "a", "--device", "toaster"),
        ("baseline", "set", "latest", "--name", "../up"),
        ("baseline", "set", "latest", "--name", ""),
        ("toolchain", "install", "toaster"),
        ("compile", "--target", "toaster"),
        ("compile", "--mcpu", "toaster"),
        ("compile", "--precision", "int3"),
        ("compile", "--no-system-lib"),
        ("compile", "--models", "nowhere.py"),
        ("compile", "--checkpoint", "./nowhere"),
        ("compile-smoke", "--target", "toaster"),
        ("package", "ios", "--models", "nowhere.py"),
        ("package", "toaster"),
        ("schema", "harness.nonsense/1"),
        ("devices", "extra"),
        ("explain", "nowhere.zip"),
    ],
    ids=" ".join,
)
def test_wrong_arguments(
    tmp_path: Path, run_command: Callable[..., Called], arguments: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    make_run(tmp_path / "results")
    is_clear(run_command(arguments, ""))


@pytest.mark.parametrize(
    "arguments",
    [
        ("show", "latest", "--markdown", "PLACE/report.md"),
        ("report", "latest", "--output", "PLACE/page.html"),
        ("export", "--output-dir", "PLACE/history"),
    ],
    ids=lambda words: words[0],
)
@pytest.mark.parametrize("place", ["a file", "readonly"])
def test_output_that_cannot_be_written(
    tmp_path: Path, run_command: Callable[..., Called], arguments: tuple[str, ...], place: str
) -> None:
    make_run(tmp_path / "results")
    where = tmp_path / "place"
    if place == "a file":
        where.write_text("")
    else:
        where = Path("/sys")  # which nobody can write to, root included
    done = run_command(
        tuple(word.replace("PLACE", str(where)) for word in arguments), "", "--results-dir", str(tmp_path / "results")
    )
    is_clear(done, 3)
