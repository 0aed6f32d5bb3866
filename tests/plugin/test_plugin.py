"""The plugin inside real pytest processes: exit codes, messages, JUnit, pytest-benchmark, and other projects."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest

from harness.protocol.schema import Sample
from harness.results import RunStatus, RunVerdict
from harness.results.summarize import summarize_run
from harness.validate import Verdict
from tests.plugin.project import Project

pytestmark = pytest.mark.programs


def test_a_good_run(project: Project) -> None:
    done = project.suites("--junit-xml=junit.xml", "--benchmark-json=benchmark.json")
    assert done.returncode == 0, done.stdout + done.stderr
    run = project.store.find("latest")
    assert run.manifest().status is RunStatus.COMPLETE
    assert {"pytest", "suites", "words.tsv"} <= set(run.manifest().command)
    summary = summarize_run(run)
    assert summary.verdict is RunVerdict.PASS
    assert set(summary.workloads["g2p"].parity) == {"cache", "cacheless", "cache, timed"}
    assert [(order.purpose, order.variant) for order in run.manifest().orders] == [
        ("smoke", "cache"),
        ("parity", "cache"),
        ("parity", "cacheless"),
        ("latency", "cache"),
    ]
    closing = done.stdout.splitlines()
    assert any(line.startswith("PASS") and "9 of 9 comparisons equal" in line for line in closing)
    assert f"harness show {run.run_id}" in closing

    suite = next(iter(ElementTree.parse(project.folder / "junit.xml").getroot()))
    of_suite = {found.get("name"): found.get("value") for found in suite.findall("properties/property")}
    assert of_suite["harness.run_id"] == run.run_id
    of_tests = {found.get("name"): found.get("value") for found in suite.findall("testcase/properties/property")}
    # chat said for chut: one edit in four segments; in all words one in ten.
    assert (of_tests["per.fra"], of_tests["per.all"], of_tests["parity.equal"]) == ("0.25", "0.1", "3")
    assert float(of_tests["latency.ratio_to_pytorch"] or 0) == pytest.approx(0.51, rel=0.05)
    assert of_tests["latency.ratio_to_pytorch.items"] in ("1", "2", "3"), "as many as fit"

    rows = {row["name"]: row for row in json.loads((project.folder / "benchmark.json").read_text())["benchmarks"]}
    timed = [
        line.record.total_ns
        for line in run.samples()
        if isinstance(line.record, Sample) and line.record.phase.value == "timed" and line.order.startswith("latency")
    ]
    artifact = rows["test_latency[artifact]"]
    assert sorted(round(second * 1e9) for second in artifact["stats"]["data"]) == sorted(timed)
    assert artifact["extra_info"]["run_id"] == run.run_id
    in_turns = [rows["test_pairs[g2p-artifact]"], rows["test_pairs[g2p-pytorch]"]]
    assert {row["stats"]["rounds"] for row in in_turns} == {run.manifest().pairing["g2p"].rounds}
    assert in_turns[1]["stats"]["data"] == pytest.approx([10e-6] * in_turns[1]["stats"]["rounds"])


def test_two_runs_can_be_compared_by_pytest_benchmark(project: Project) -> None:
    for name in ("one.json", "two.json"):
        assert project.suites("-k", "latency", f"--benchmark-json={name}").returncode == 0
    done = subprocess.run(
        [sys.executable, "-m", "pytest_benchmark", "compare", "one.json", "two.json"],
        cwd=project.folder,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("test_latency[artifact]") == 2
    assert len(project.store.runs()) == 2


def test_a_mismatch_exits_with_1_and_names_word_token_and_margin(project: Project) -> None:
    project.behave(wrong="dog")
    done = project.suites("-k", "parity")
    assert done.returncode == 1
    assert "eng-us 'dog': mismatch at step 3: token 123 expected, 1 got (PyTorch's margin 2.5" in done.stdout
    assert "SUBFAILED[eng-us]" in done.stdout
    assert "SUBFAILED[fra]" not in done.stdout
    assert any(line.startswith("FAIL") for line in done.stdout.splitlines())
    assert project.store.find("latest").manifest().status is RunStatus.COMPLETE


CRASH = """
header(); load()
for item in order["items"][:2]:
    if order["repetitions"]:
        sample(item, "timed", 0)
    else:
        said = output(item)
        put(record="probe", workload="g2p", items=[item["id"]],
            outputs=[dict(said, margins=[2.5] * len(said["token_ids"]))])
os.kill(os.getpid(), signal.SIGSEGV)
"""


def test_a_crash_exits_with_3_and_keeps_what_arrived(project: Project) -> None:
    project.behave(body=CRASH)
    done = project.suites()
    assert done.returncode == 3, done.stdout
    assert "killed by SIGSEGV" in done.stdout
    assert "Traceback" not in done.stdout
    run = project.store.find("latest")
    assert run.manifest().status is RunStatus.INCOMPLETE
    assert summarize_run(run).verdict is RunVerdict.INCONCLUSIVE
    latency = [line for line in run.samples() if line.order.startswith("latency") and isinstance(line.record, Sample)]
    assert len(latency) == 2


def test_a_mismatch_found_before_a_crash_is_a_failure(project: Project) -> None:
    project.behave(body=CRASH, wrong="cat")
    assert project.suites("-k", "parity").returncode == 1


def test_what_cannot_be_an_answer_is_a_failure_and_no_matter_of_the_device(project: Project) -> None:
    why = "the model's logits of step 2 for 'dog' hold NaN, not a finite number"
    project.behave(
        body="header(); load()\n"
        f"end('error', error=dict(kind='answer', message={why!r}, item=order['items'][1]['id'])); sys.exit(1)"
    )
    done = project.suites("-k", "parity")
    assert done.returncode == 1, done.stdout
    assert f"no answer, expected 'dog': {why}" in done.stdout
    run = project.store.find("latest")
    assert run.manifest().status is RunStatus.INCOMPLETE
    summary = summarize_run(run)
    assert summary.verdict is RunVerdict.FAIL
    assert summary.workloads["g2p"].parity["cache"].by_verdict[Verdict.NO_ANSWER] == 1


EVIL = "\x1b[2J\x1b]0;owned\x07 red\x9b31m \u202egnp"


@pytest.mark.parametrize(
    "body",
    [
        "header(); load()\n"
        f"end('error', error=dict(kind='answer', message={EVIL!r}, item=order['items'][1]['id'])); sys.exit(1)",
        f"header(); load(); print({EVIL!r}, file=sys.stderr, flush=True); os.kill(os.getpid(), signal.SIGSEGV)",
        "header(); load(); put(record='probe', model='g2p', items=[order['items'][0]['id']], "
        f"outputs=[dict(token_ids=[1], margins=[2.5], text={EVIL!r})]); sys.exit(1)",
    ],
    ids=["failure", "log", "answer"],
)
def test_nothing_of_a_device_reaches_a_terminal_as_it_is(project: Project, body: str) -> None:
    project.behave(body=body)
    done = project.suites("-k", "parity", "--junitxml", "junit.xml")
    assert done.returncode in (1, 3), done.stdout
    junit = (project.folder / "junit.xml").read_text()
    for text in (done.stdout, done.stderr, junit):
        assert not re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e]", text), text
    assert "text=" in body or "\\x1b[2J" in done.stdout


def test_a_hang_is_ended_at_the_deadline(project: Project) -> None:
    project.behave(body="header(); load(); time.sleep(600)")
    done = project.suites("-k", "cacheless", "--deadline", "1")
    assert done.returncode == 3
    assert "deadline of 1 s" in done.stdout


def test_what_cannot_be_made_fails_the_run_and_is_told_once(project: Project) -> None:
    project.behave(fail="the compiler is not at home")
    done = project.suites()
    assert done.returncode == 3
    assert done.stdout.count("→ try something else") == 1
    assert "the compiler is not at home (see above)" in done.stdout
    manifest = project.store.find("latest").manifest()
    assert manifest.status is RunStatus.FAILED
    assert manifest.reason == "the compiler is not at home"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--device", "toaster"], "known kinds of device: android, host"),
        (["--threads", "3"], "use --threads 2"),
        (["--threads", "0"], "at least 1"),
        (["--words", "absent.tsv"], "cannot read absent.tsv"),
        (["--lang", "deu"], "holds no words of 'deu'"),
        (["--words", "empty.tsv"], "holds no words"),
        (["--words", "unknown.tsv"], "unknown language 'xyz'"),
        (["--words", "long.tsv"], "more than the limit of 64"),
    ],
)
def test_wrong_usage_exits_with_2(project: Project, arguments: list[str], message: str) -> None:
    (project.folder / "empty.tsv").write_text("\n")
    (project.folder / "unknown.tsv").write_text("xyz\tword\t\n")
    (project.folder / "long.tsv").write_text(f"fra\t{'é' * 40}\t\n")
    done = project.suites(*arguments)
    assert done.returncode == 2, done.stdout
    assert message in done.stdout
    assert "Traceback" not in done.stdout + done.stderr


def test_without_a_device_the_suites_are_not_run(project: Project) -> None:
    done = project.pytest("suites")
    assert done.returncode == 2
    assert "pytest suites --device host" in done.stdout
    (project.folder / "test_own.py").write_text("def test_own():\n    pass\n")
    done = project.pytest("suites", "test_own.py")
    assert done.returncode == 0
    assert "1 passed, 7 deselected" in done.stdout
    assert not project.store.runs()


def test_collecting_only_starts_nothing(project: Project) -> None:
    assert project.suites("--collect-only").returncode == 0
    assert not project.store.runs()


def test_a_full_disk_exits_with_3(project: Project) -> None:
    """A file size limit stands for the disk; it hits in the middle of the samples."""
    command = " ".join(
        project.command(*["suites", "--device", "host", "--words", "words.tsv", "--repeat", "400", "-k", "latency"])
    )
    done = subprocess.run(
        ["bash", "-c", f"ulimit -f 40; exec {command}"],
        cwd=project.folder,
        env=project.environment(),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 3, done.stdout + done.stderr
    assert "samples.jsonl: File too large" in done.stdout
    assert len(list(project.store.find("latest").samples())) > 20


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_and_termination_end_the_run_and_the_runner(project: Project, number: signal.Signals) -> None:
    project.behave(body="header(); load(); open('../pid', 'w').write(f'{os.getpid()} '); time.sleep(600)")
    pid = project.folder / "pid"
    code, out = project.interrupted(
        *["suites", "--device", "host", "--words", "words.tsv", "-k", "latency"],
        when=lambda: pid.exists() and pid.read_text().endswith(" "),
        number=number,
    )
    assert code == 130, out
    manifest = project.store.find("latest").manifest()
    assert (manifest.status, manifest.reason) == (RunStatus.INCOMPLETE, "interrupted")
    assert manifest.orders[0].reason == "interrupted"
    status = Path(f"/proc/{int(pid.read_text())}/stat")
    assert not status.exists() or " Z " in status.read_text()
    assert not list(project.folder.glob("harness-????????-*"))


def test_two_runs_at_once_take_turns_on_the_device(project: Project) -> None:
    waiting = "any('is in use by process' in open(f'../said-{at}').read() for at in (0, 1))"
    until = "until = time.monotonic() + 40"
    project.behave(
        body=f"{until}\nwhile not {waiting} and time.monotonic() < until:\n    time.sleep(0.01)\neverything()"
    )
    command = project.command(*["suites", "--device", "host", "--words", "words.tsv", "-k", "few_items"])
    logs = [project.folder / f"said-{at}" for at in (0, 1)]
    with logs[0].open("w") as first, logs[1].open("w") as second:
        both = [
            subprocess.Popen(
                command, cwd=project.folder, env=project.environment(), stdout=log, stderr=subprocess.STDOUT
            )
            for log in (first, second)
        ]
        statuses = [process.wait(120) for process in both]
    said = [log.read_text() for log in logs]
    assert statuses == [0, 0], said
    assert sum("device host is in use by process" in text for text in said) == 1
    runs = project.store.runs()
    assert len(runs) == 2
    assert all(run.manifest().status is RunStatus.COMPLETE for run in runs)
    assert all(len(list(run.samples())) == 9 for run in runs)


def test_other_projects_are_not_disturbed(tmp_path: Path) -> None:
    """Another project may have our options, and sees neither our imports nor our output."""
    (tmp_path / "pytest.ini").write_text("[pytest]\n")
    (tmp_path / "conftest.py").write_text(
        "def pytest_addoption(parser):\n"
        "    for name in ('--device', '--checkpoint', '--repeat', '--threads', '--lang', '--words'):\n"
        "        parser.addoption(name)\n"
    )
    (tmp_path / "test_theirs.py").write_text(
        "import sys\n"
        "def test_theirs(request):\n"
        "    assert request.config.getoption('--device') == 'cuda'\n"
        "    heavy = ('torch', 'tvm', 'scipy', 'pydantic', 'rich', 'harness.run.session', 'harness.results')\n"
        "    assert not [name for name in heavy if name in sys.modules]\n"
    )
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "--device", "cuda"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "harness" not in done.stdout.split("collected")[1]
