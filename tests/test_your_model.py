"""docs/tutorials/your-own-model.md as a newcomer follows it, and what the one binary of four models contains then.

docs/your-model.md is the reference of the same; tests/native/test_rust_crates.py runs its program.
"""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
import time
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import torch

from harness.compiler import compile_models
from harness.compiler.metadata import read_metadata
from harness.compiler.observe.provenance import read_provenance
from harness.core.cache import Cache
from harness.devices import HostDevice
from harness.models.examples.detector import Detection, detections
from harness.models.g2p.checkpoints import resolve_checkpoint
from harness.models.tensor.described import UserModel, describe_models
from harness.models.tensor.sources import ModelSource, resolve_model
from harness.native import MissingRegistration, Runner, build_runner, check_registrations
from harness.protocol.schema import Load, Probe, RecordOptions, TensorWorkload, WorkItem, WorkOrder
from harness.protocol.tensors import Array, decode, encode
from harness.results import Run, Store
from tests import forked
from tests.compile_requests import g2p_request, models_request
from tests.docs.blocks import blocks as page_blocks
from tests.environment import python_path
from tests.outside import persons_environment

pytestmark = [pytest.mark.compiler, pytest.mark.thorough]

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs/tutorials/your-own-model.md"


def blocks(language: str) -> list[str]:
    return [block.body for block in page_blocks(PAGE) if block.language == language]


@dataclass(frozen=True)
class Followed:
    """The tutorial's folder after its commands, what each of them printed and how it ended."""

    folder: Path
    commands: dict[str, subprocess.CompletedProcess[str]]

    @property
    def runs(self) -> list[Run]:
        return Store(self.folder / "results").runs()


@pytest.fixture(scope="module")
def followed(tmp_path_factory: pytest.TempPathFactory) -> Followed:
    folder = tmp_path_factory.mktemp("newcomer")
    (folder / "pytest.ini").write_text("[pytest]\n")
    (folder / "flowers.py").write_text(blocks("python")[0])
    done = {}
    tools = {"pytest": ["-m", "pytest", "-p", "no:cacheprovider"], "harness": ["-m", "harness.cli"]}
    for command in "".join(blocks("sh")).splitlines():
        tool, *arguments = shlex.split(command)
        done[command] = forked.run(
            [sys.executable, *tools[tool], *arguments],
            cwd=folder,
            env=persons_environment() | {"PYTHONPATH": python_path(ROOT)},
            timeout=1800,
        )
    return Followed(folder, done)


def test_every_command_of_the_tutorial_succeeds(followed: Followed) -> None:
    assert len(followed.commands) == 3
    for command, done in followed.commands.items():
        assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
        assert "skipped" not in done.stdout


def test_one_binary_holds_four_models_and_each_answers_as_pytorch(followed: Followed) -> None:
    alone, together = followed.runs
    assert list(alone.manifest().workloads) == ["flowers"]
    manifest, summary = together.manifest(), together.summary()
    assert summary is not None
    assert (summary.verdict.value, summary.reasons) == ("pass", [])
    assert list(summary.unlike) == ["flowers", "detector", "bert"]
    assert list(summary.workloads["g2p"].parity) == ["cache", "cache, timed"]
    assert len(manifest.variants) == 1
    for name, found in summary.unlike.items():
        assert found.failed == found.missing == 0, name
        assert found.by_item, name
        assert found.ratio is not None
    loaded: dict[str, set[str]] = {}
    for line in together.samples():
        if isinstance(line.record, Load):
            loaded.setdefault(line.order, set()).add(line.record.workload)
    assert len(loaded) == 3 * 4
    assert all(len(models) == 1 for models in loaded.values()), "an order loads nothing of the other models"


def test_the_boxes_that_are_left_are_pytorchs(followed: Followed, user_cache: Cache) -> None:
    """What an app does behind the graph: non-maximum suppression."""
    [detector] = describe_models([resolve_model("detector")], cache=user_cache, progress=quiet)
    expected = detector.expected()
    probes = [line.record for line in followed.runs[1].samples() if isinstance(line.record, Probe)]
    answers = {p.items[0]: decode(p.tensors) for p in probes if p.workload == "detector" and p.tensors is not None}
    assert answers.keys() == expected.keys()
    for item, arrays in answers.items():
        # Untrained scores are so close to each other that their order is rounding; what is compared is the boxes.
        ours, theirs = left(arrays | {"scores": expected[item]["scores"]}), left(expected[item])
        assert len(ours) == len(theirs) > 0
        assert [one.kind for one in ours] == [one.kind for one in theirs]
        for one, other in zip(ours, theirs, strict=True):
            assert one.box == pytest.approx(other.box, abs=1e-2)


def left(arrays: dict[str, Array]) -> list[Detection]:
    boxes, scores = (torch.from_numpy(arrays[name].copy())[0] for name in ("boxes", "scores"))
    return detections(boxes, scores, least=0.5)


def test_one_metadata_file_names_every_prefix(followed: Followed) -> None:
    metadata = read_metadata(followed.folder / "build")
    assert metadata.registrations == ["g2p_encoder_", "g2p_decoder_prefill_", "g2p_decoder_step_", "flowers_"]
    stored = json.loads((followed.folder / "build/system_lib_metadata.json").read_text())
    assert list(stored)[:3] == ["archive", "prefix_base", "prefixes"]
    [flowers] = stored["models"]
    assert flowers["inputs"] == [{"name": "input", "dtype": "float32", "shape": ["flowers", 4]}]
    assert flowers["kind"] == "tensors"
    stands_for = read_provenance(followed.folder / "build")
    assert [one.model for one in stands_for.functions] == ["g2p", "g2p", "g2p", "flowers"]


@pytest.fixture(scope="module")
def runner(followed: Followed, user_cache: Cache) -> Runner:
    """The binary of the tutorial's second command, which the cache has."""
    path = (followed.folder / "flowers.py").resolve()
    sources = [ModelSource("flowers.py", path), resolve_model("detector"), resolve_model("bert")]
    models: list[UserModel] = describe_models(sources, cache=user_cache, progress=quiet)
    g2p = g2p_request(resolve_checkpoint("embedded", cache=user_cache))
    request = replace(g2p, models=[*g2p.models, *models_request(models).models])
    archive = compile_models(request, cache=user_cache, progress=quiet)
    return build_runner(archive, cache=user_cache, progress=quiet)


def test_a_registration_that_is_missing_is_found_before_anything_is_deployed(runner: Runner) -> None:
    facts = check_registrations(runner.path, runner.archive.metadata.registrations)
    assert len(facts.registrations) == 6
    with pytest.raises(MissingRegistration, match="no registration of ghost_"):
        check_registrations(runner.path, [*runner.archive.metadata.registrations, "ghost_"])


@pytest.mark.parametrize(
    ("model", "inputs", "reason"),
    [
        ({"functions": {"main": "ghost_"}}, {}, 'no model with the system-lib prefix "ghost_" is linked'),
        ({"outputs": ["one", "two"]}, {}, '"flowers" returned 1 tensors instead of 2'),
        ({}, {"input": torch.zeros(1, 5).numpy()}, "flowers_main: TVM raised"),
        ({}, {"other": torch.zeros(1, 4).numpy()}, 'the model takes ["input"]'),
    ],
)
def test_what_a_model_does_not_take_is_a_record(
    runner: Runner, tmp_path: Path, model: dict[str, object], inputs: dict[str, Array], reason: str
) -> None:
    functions = {"main": "flowers_"}
    facts = {"name": "flowers", "functions": functions, "inputs": ["input"], "outputs": ["output"], **model}
    order = WorkOrder(
        order_id=f"order-{time.monotonic_ns()}",
        archive_sha256=runner.archive.sha256,
        workloads=[TensorWorkload.model_validate(facts)],
        items=[WorkItem(id="a", workload="flowers", input=encode(inputs or {"input": torch.zeros(1, 4).numpy()}))],
        probe=RecordOptions(),
    )
    result = HostDevice(lock_folder=tmp_path).run(runner.path, order, deadline=60)
    assert not result.complete
    assert reason in str(result.reason)


def quiet(_text: str) -> None:
    pass
