"""``harness lab demo``, as ``make lab-demo`` calls it: it really runs, shows itself, and leaves nothing behind."""

from __future__ import annotations

import json
import re
import signal
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from tests.cli.called import call
from tests.lab.conftest import PATIENCE, await_
from tests.lab.test_commands import running

pytestmark = pytest.mark.programs


def left(folder: Path) -> list[str]:
    """The processes whose command line or environment has to do with the folder."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            command = (entry / "cmdline").read_bytes() + bytes(str((entry / "cwd").readlink()), "utf-8")
        except OSError:
            continue
        if str(folder).encode() in command:
            found.append(command.replace(b"\0", b" ").decode(errors="replace"))
    return found


def ask(address: str, name: str) -> Any:
    with urllib.request.urlopen(f"{address}api/{name}.json", timeout=30) as answer:
        return json.load(answer)


@pytest.mark.thorough
@pytest.mark.compiler
@pytest.mark.parametrize("kind", ["demo", pytest.param("virtual-android", marks=pytest.mark.emulator)])
def test_a_lab_with_a_nightly_run_over_all_phones(kind: str, tmp_path: Path) -> None:
    log, folder = tmp_path / "demo.log", tmp_path / "demo"
    options = ("--phones", kind, "--folder", str(folder), "--minutes", "0.05", "--port", "0")
    with running(log, "lab", "demo", *options) as demo:

        def look() -> bool:
            assert demo.poll() is None, log.read_text()
            return "the lab runs on" in log.read_text()

        await_("the nightly run has ended", look, seconds=900)
        address = re.findall(r"the page, at ([^\s;]+)", log.read_text())[0]
        phones = ask(address, "lab")["phones"]
        assert sorted(phone["host"] for phone in phones) == ["east", "east", "west", "west"]
        (night,) = ask(address, "nights")["nights"]
        assert {unit["device"] for unit in night["units"]} == {phone["device"] for phone in phones}
        assert all(unit["cells"] for unit in night["units"])
        judged = {cell["verdict"] for unit in night["units"] for cell in unit["cells"]}
        assert kind == "demo" or judged == {"inconclusive"}, "the times of virtual phones are not judged"
        assert ask(address, "runs")["stored"] == 1
        with urllib.request.urlopen(f"{address}nights/{night['night']}", timeout=60) as page:
            assert night["night"] in page.read().decode()
        # All that runs is found by the folder, so that nothing of it can be left unseen.
        assert len(left(folder)) >= 4
        demo.send_signal(signal.SIGINT)
        assert demo.wait(PATIENCE) == 0, log.read_text()
    assert left(folder) == []


def test_ctrl_c_in_the_middle_ends_everything(tmp_path: Path) -> None:
    log, folder = tmp_path / "demo.log", tmp_path / "demo"
    with running(log, "lab", "demo", "--folder", str(folder), "--port", "0") as demo:
        await_("the first agent starts", lambda: (folder / "east.log").exists())
        demo.send_signal(signal.SIGINT)
        assert demo.wait(PATIENCE) == 130, log.read_text()
    assert "2. agent west" not in log.read_text()
    assert log.read_text().splitlines()[-1] == "harness: interrupted"
    assert left(folder) == []


def test_phones_that_the_demo_does_not_have(capsys: pytest.CaptureFixture[str]) -> None:
    done = call(capsys, "lab", "demo", "--phones", "nokia")
    assert done.code == 2
    assert "choose one of virtual-android, virtual-ios, demo" in done.err
