"""The main job itself, in the processes a user starts: on a few real words, cold, warm, compared and killed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import uuid
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from harness.compiler import compile_models
from harness.core.cache import Cache
from harness.devices import HostDevice
from harness.models.g2p.checkpoints import resolve_checkpoint
from harness.models.g2p.items import word_item
from harness.models.g2p.word_list import default_words
from harness.native import build_runner
from harness.protocol.schema import Header, Sample, WorkOrder
from tests.compile_requests import g2p_request
from tests.outside import persons_environment

pytestmark = pytest.mark.compiler

ROOT = Path(__file__).parent.parent
WORDS = "eng-us\tword\tˈwɚd\nfra\toui\twi\nger\thaus\thaʊ̯s\nrus\tдом\tdom\n"


def run_suites(
    folder: Path, *options: str, environment: dict[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    words = folder / "words.tsv"
    words.write_text(WORDS)
    command = [sys.executable, "-m", "pytest", "suites", "--device", "host", "--words", str(words), "--repeat", "3"]
    return subprocess.run(
        [*command, "--results-dir", str(folder / "results"), *options],
        cwd=ROOT,
        env=persons_environment() | (environment or {}),
        capture_output=True,
        text=True,
        check=False,
        timeout=1800,
    )


def test_the_main_job_and_what_it_leaves(tmp_path: Path) -> None:
    done = run_suites(tmp_path, "--junitxml", str(tmp_path / "junit.xml"), "--benchmark-json", str(tmp_path / "b.json"))
    assert done.returncode == 0, done.stdout + done.stderr
    assert "PASS" in done.stdout

    suite = ET.parse(tmp_path / "junit.xml").getroot().find("testsuite")
    assert suite is not None
    assert suite.get("failures") == suite.get("errors") == suite.get("skipped") == "0"
    properties = {p.get("name") for p in suite.iter("property")}
    assert any("per" in str(name).lower() for name in properties), properties
    benchmarks = {b["name"]: b for b in json.loads((tmp_path / "b.json").read_text())["benchmarks"]}
    assert len(benchmarks["test_latency[artifact]"]["stats"]["data"]) == 4 * 3

    in_turns = [benchmarks[f"test_pairs[g2p-{side}]"]["stats"]["rounds"] for side in ("artifact", "pytorch")]
    assert in_turns[0] == in_turns[1] >= 3
    assert "of PyTorch's time" in done.stdout or "ratio to PyTorch's time inconclusive" in done.stdout

    # Warm, with PyTorch and TVM made unimportable, and what talks to iPhones: nothing but PyTorch's times needs them.
    poison = tmp_path / "poison"
    for name in ("torch", "tvm", "transformers", "pymobiledevice3"):
        (poison / name).mkdir(parents=True)
        (poison / name / "__init__.py").write_text("raise ImportError('a warm run imports this')\n")
    again = run_suites(tmp_path, "--pair-seconds", "0", environment={"PYTHONPATH": str(poison)})
    assert again.returncode == 0, again.stdout + again.stderr

    harness = [sys.executable, "-m", "harness.cli"]
    results = ["--results-dir", str(tmp_path / "results")]
    compared = subprocess.run(
        [*harness, "compare", "latest~1", "latest", "--markdown", *results],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert "|" in compared.stdout
    listed = subprocess.run([*harness, "runs", *results], cwd=ROOT, capture_output=True, text=True, check=True)
    assert listed.stdout.count(" pass ") == 2


def test_a_real_runner_killed_in_the_middle_keeps_what_was_complete(user_cache: Cache, tmp_path: Path) -> None:
    def quiet(_text: str) -> None:
        pass

    checkpoint = resolve_checkpoint("embedded", cache=user_cache)
    archive = compile_models(g2p_request(checkpoint), cache=user_cache, progress=quiet)
    runner = build_runner(archive, cache=user_cache, progress=quiet)
    words = default_words()[:20]
    order = WorkOrder(
        order_id=str(uuid.uuid4()),
        archive_sha256=archive.sha256,
        workloads=[archive.metadata.generation()],
        items=[word_item(str(i), w.language, w.word) for i, w in enumerate(words)],
        warmup=0,
        repetitions=10_000,
    )
    seen: list[Sample] = []
    pids: list[int] = []

    def kill_after_fifty(record: object) -> None:
        if isinstance(record, Header):
            pids.append(record.pid)
        if isinstance(record, Sample):
            seen.append(record)
            if len(seen) == 50:
                os.kill(pids[0], signal.SIGKILL)

    result = HostDevice().run(runner.path, order, tmp_path, 120.0, kill_after_fifty)
    assert not result.complete
    assert "SIGKILL" in str(result.reason)
    kept = [record for record in result.records if isinstance(record, Sample)]
    assert kept[: len(seen)] == seen
    assert len(kept) >= 50
    with pytest.raises(ProcessLookupError):
        os.kill(pids[0], 0)
