"""Compiling is work, too: a lab's workers make archives, which come back through the cache that machines share."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from harness.compiler import CompileRequest
from harness.compiler.front import archive_keys
from harness.compiler.metadata import FILE_NAME
from harness.core.cache import Cache
from harness.core.store import FileStore
from harness.devices.base import silent
from harness.lab.building import Builder, request_of
from harness.lab.client import Census, Silence
from harness.lab.compiling import Job, compile_all
from harness.lab.elsewhere import LabCompiler
from harness.lab.wire import PROTOCOL, BuilderCard, Compiled, CompileOrder
from harness.models.options import ModelOptions
from harness.run.builder import CachedBuilder, RunOptions
from tests.cli.called import call
from tests.lab.conftest import Town, await_
from tests.models.test_described import MINE

pytestmark = pytest.mark.programs

SECRET = "s" * 40


def order(**more: Any) -> CompileOrder:
    own: dict[str, str | int | bool] = {"checkpoint": "random:tiny-8"}
    return CompileOrder(protocol=PROTOCOL, model="g2p", target="llvm", own=own, keys=["k"], **more)


@pytest.fixture
def builder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Builder:
    monkeypatch.setenv("HARNESS_CACHE_URL", f"file://{tmp_path}/shared")
    monkeypatch.setenv("HARNESS_CACHE_KEY", SECRET)
    return Builder("desk", 1, store=FileStore(f"file://{tmp_path}/store"), cache=Cache(tmp_path / "agent"))


@pytest.mark.thorough
@pytest.mark.compiler
def test_an_agent_compiles_a_users_model(
    village: Town, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The model lies in a folder of the client's alone, and each side has a cache of its own."""
    monkeypatch.setenv("HARNESS_CACHE_DIR", str(tmp_path / "client"))
    shared = {"HARNESS_CACHE_URL": f"file://{tmp_path}/shared", "HARNESS_CACHE_KEY": SECRET}
    for name, value in shared.items():
        monkeypatch.setenv(name, value)
    project = tmp_path / "project"
    project.mkdir()
    (project / "mine.py").write_text(MINE)
    (project / "beside.py").write_text("SCALE = 2\n")
    (project / "weights.bin").write_bytes(b"1")
    village.scheduler()
    out = ("--output-dir", str(tmp_path / "out"), "--json")
    words = ("lab", "compile", "--scheduler", village.address, "--models", str(project / "mine.py"), *out)
    done = call(capsys, *words)
    assert done.code == 3
    assert "no agent of the lab" in done.err
    village.environment = shared
    village.start("east", "agent", village.address, village.store, "east", str(village.folder / "state-east"), "1")
    await_("the agent compiles", lambda: "east/compile-1" in village.lab.census().builders)
    done = call(capsys, *words)
    assert done.code == 0, done.err
    (row,) = json.loads(done.out)["archives"]
    assert (row["target"], row["worker"]) == ("llvm", "east/compile-1")
    folder = tmp_path / "out" / "llvm" / "mine"
    assert sorted(Path(file["path"]).name for file in row["files"]) == sorted(one.name for one in folder.iterdir())
    metadata = json.loads((folder / FILE_NAME).read_text())
    assert [one["name"] for one in metadata["models"]] == ["mine"]
    # The agent made it, and the client only took it.
    assert "compiles mine.py for llvm" in village.log("east").read_text()
    made, taken = (
        {entry.name for entry in Cache(root).entries() if entry.kind == "archives"}
        for root in (village.folder / "state-east" / "cache", tmp_path / "client")
    )
    assert made == taken
    assert len(list((tmp_path / "shared" / "cache").rglob("*.json"))) == len(made)
    await_("its card counts it", lambda: village.lab.census().builders["east/compile-1"].done == 1)
    # What a run needs is made there, too, and only taken here.
    model = str(project / "mine.py")
    mine, notices = CompileOrder(protocol=PROTOCOL, model=model, target="llvm", precision="fp16", keys=[]), list[str]()
    here = Cache(tmp_path / "runs")
    request = request_of(mine, model, here, silent)
    options = ModelOptions(models=(model,), precision="fp16")
    LabCompiler(village.lab, notify=notices.append).compile(options, request, "cache", cache=here, progress=silent)
    assert [here.has("archives", key) for key in archive_keys(request)] == [True]
    assert notices[0].startswith(f"{model} for llvm: east/compile-1, ")


def test_another_compiler_makes_nothing(builder: Builder, monkeypatch: pytest.MonkeyPatch) -> None:
    ended = builder.build(order())
    assert "desk/compile-1 would make other archives" in ended.text
    assert json.loads(builder.card())["done"] == 1
    assert "speaks another protocol" in builder.build(order().model_copy(update={"protocol": 0})).text
    ended = builder.build(order().model_copy(update={"target": "vax"}))
    assert (ended.error, ended.exit_code) == ("UnknownTarget", 2)
    monkeypatch.delenv("HARNESS_CACHE_URL")
    assert "has no shared cache" in builder.build(order()).text


@pytest.mark.parametrize("place", ["../x.py", "/x.py", "a/../../x.py", ".x", "a//b", "a\nb"])
def test_a_models_files_stay_in_its_folder(builder: Builder, place: str) -> None:
    ended = builder.build(order(files={place: "0" * 64}).model_copy(update={"model": place}))
    assert "is no place of a file" in ended.text


def test_a_models_name_stays_in_its_folder(builder: Builder, tmp_path: Path) -> None:
    (tmp_path / "x.py").write_text("raise SystemExit('it ran')")
    sha256 = FileStore(f"file://{tmp_path}/store").put(tmp_path / "x.py")
    ended = builder.build(
        order(files={"a/x.py": sha256}).model_copy(update={"model": f"../../../{tmp_path.name}/x.py"})
    )
    assert "is none of the model's files" in ended.text


class FakeLab:
    """Answers what it was given, one look late; counts what was dropped."""

    address = "tcp://lab:1"

    def __init__(self, *answers: str | Exception) -> None:
        self.answers = list(answers)
        self.submitted: list[CompileOrder] = []
        self.dropped = 0
        self.asked: dict[int, int] = {}

    def submit(self, text: str, priority: int) -> int:
        self.submitted.append(CompileOrder.model_validate_json(text))
        return len(self.submitted) - 1

    def outcome(self, future: int, seconds: float) -> str | None:
        self.asked[future] = self.asked.get(future, 0) + 1
        answer = self.answers[future]
        if isinstance(answer, Exception):
            raise answer
        return answer if self.asked[future] > 1 else None

    def forget(self, future: int) -> None:
        self.dropped += 1


class LabThatCompiles(FakeLab):
    """The same, with a worker that compiles, if any."""

    def __init__(self, *answers: str | Exception, workers: int = 1, store: str = "") -> None:
        super().__init__(*answers)
        self._workers, self._store = workers, store

    def census(self) -> Census:
        card = BuilderCard(protocol=PROTOCOL, harness="1", name="desk/compile-1", host="desk", store=self._store)
        return Census("s", {}, {}, {card.name: card} if self._workers else {})


@pytest.fixture
def run_request(builder: Builder, tmp_path: Path) -> tuple[ModelOptions, CompileRequest, Cache]:
    """What a run wants to be compiled: its options, and a cache that has nothing."""
    cache = Cache(tmp_path / "client")
    own = {"checkpoint": "random:tiny-8", "lang": None}
    request = request_of(order().model_copy(update={"precision": "int8", "profile": True}), "g2p", cache, silent)
    return ModelOptions(models=("g2p",), precision="int8", own=own), request, cache


def test_a_runs_archives_are_compiled_by_the_lab(
    run_request: tuple[ModelOptions, CompileRequest, Cache], tmp_path: Path
) -> None:
    options, request, cache = run_request
    answer = Compiled(worker="desk/compile-1", seconds=9).model_dump_json()
    lab, notices = LabThatCompiles(answer, store=f"file://{tmp_path}/store"), list[str]()
    compiler = LabCompiler(lab, notify=notices.append)  # type: ignore[arg-type]
    compiler.compile(options, request, "cache", cache=cache, progress=silent)
    (sent,) = lab.submitted
    assert sent.keys == archive_keys(request)
    assert (sent.precision, sent.profile, sent.kv_cache, sent.own) == (
        "int8",
        True,
        True,
        {"checkpoint": "random:tiny-8"},
    )
    assert notices == ["g2p for llvm: desk/compile-1, 9 s"]
    # What a cache has is not asked for.
    cache.fetch("archives", sent.keys[0], lambda folder: None)
    compiler.compile(options, request, "cache", cache=cache, progress=silent)
    assert len(lab.submitted) == 1
    lab = LabThatCompiles(workers=0)
    LabCompiler(lab, notify=notices.append).compile(  # type: ignore[arg-type]
        options, request, "cache", cache=Cache(tmp_path / "another"), progress=silent
    )
    assert (lab.submitted, len(notices)) == ([], 1)


def test_what_the_lab_cannot_compile_is_compiled_here(
    run_request: tuple[ModelOptions, CompileRequest, Cache], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options, request, cache = run_request
    for answer in (failed("no memory", 3), Silence("the host is gone")):
        lab, notices = LabThatCompiles(answer, store=f"file://{tmp_path}/store"), list[str]()
        compiler = LabCompiler(lab, notify=notices.append)  # type: ignore[arg-type]
        for _ in range(2):
            compiler.compile(options, request, "cache", cache=cache, progress=silent)
        assert len(lab.submitted) == len(notices) == 1
        assert notices[0].startswith("compiling on this machine: ")
    made: list[str] = []
    monkeypatch.setattr("harness.run.builder.compile_models", lambda *_of, **_more: made.append("here"))

    class Elsewhere:
        def compile_elsewhere(self, *_of: object, **_more: object) -> None:
            made.append("elsewhere")

    run = RunOptions(own={"checkpoint": "random:tiny-8"})
    for device in (Elsewhere(), None):
        CachedBuilder(silent, archives=cache, device=device).archive(run, [], "cache", silent)
    assert made == ["elsewhere", "here", "here"]


def job(target: str) -> Job:
    return Job("g2p", order().model_copy(update={"target": target}))


def test_targets_by_models_are_orders_and_come_back_in_order() -> None:
    answers = [Compiled(worker=f"desk/compile-{at}", seconds=at).model_dump_json() for at in (1, 2, 3)]
    lab, notices = FakeLab(*answers), list[str]()
    found = compile_all(lab, [job(one) for one in ("llvm", "android-arm64", "ios-arm64")], 0, notices.append)  # type: ignore[arg-type]
    assert [one.worker for one in found] == ["desk/compile-1", "desk/compile-2", "desk/compile-3"]
    assert [one.target for one in lab.submitted] == ["llvm", "android-arm64", "ios-arm64"]
    assert notices == [
        "g2p for llvm: desk/compile-1, 1 s",
        "g2p for android-arm64: desk/compile-2, 2 s",
        "g2p for ios-arm64: desk/compile-3, 3 s",
    ]
    assert lab.dropped == 0


def failed(text: str, code: int) -> str:
    return Compiled(worker="w", seconds=1, error="X", text=text, exit_code=code).model_dump_json()


@pytest.mark.parametrize(
    ("answer", "said", "code"),
    [
        (failed("no op", 2), "no op", 2),
        (failed("odd", 77), "odd", 3),
        ("{", "an agent's answer is none", 3),
        (Silence("gone"), "was lost while it compiled: gone", 3),
    ],
)
def test_a_failure_ends_the_others(answer: str | Exception, said: str, code: int) -> None:
    lab = FakeLab(answer, "never")
    with pytest.raises(Exception, match=said) as caught:
        compile_all(lab, [job("llvm"), job("android-arm64")], 0, print)  # type: ignore[arg-type]
    assert caught.value.exit_code == code  # type: ignore[attr-defined]
    assert lab.dropped >= 1


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("--target vax", "vax"),
        ("", "no shared cache is named"),
        ("--models a/x.py --models b/x.py", "would be written to one folder"),
    ],
)
def test_what_is_typed_wrong(words: str, said: str, capsys: pytest.CaptureFixture[str]) -> None:
    done = call(capsys, "lab", "compile", "--scheduler", "tcp://127.0.0.1:1", *words.split())
    assert done.code == 2
    assert said in done.err


def test_an_agent_that_offers_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    words = ("lab", "agent", "--scheduler", "tcp://127.0.0.1:1", "--store", "file:///s")
    done = call(capsys, *words, "--no-phones")
    assert (done.code, "leaves nothing to offer" in done.err) == (2, True)
    done = call(capsys, *words, "--compile", "1")
    assert (done.code, "no shared cache is named" in done.err) == (2, True)
