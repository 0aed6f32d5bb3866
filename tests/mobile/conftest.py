"""The library of three unrelated models and a run that measured them, which the tests of all languages share."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from typer.testing import CliRunner

from harness.cli.app import app, load_commands
from harness.compiler import Archive, compile_models
from harness.core.cache import Cache
from harness.devices import HostDevice
from harness.models.g2p.checkpoints import resolve_checkpoint
from harness.models.g2p.reference import ReferenceOptions, reference_outputs
from harness.models.g2p.word_list import Word
from harness.models.language.workload import open_language_models
from harness.models.options import ModelOptions
from harness.models.tensor.described import describe_models
from harness.models.tensor.sources import ModelSource
from harness.native.apps.library import build_library
from harness.results import Run, RunVerdict, Store
from harness.run.builder import CachedBuilder, RunOptions
from harness.run.session import RunSession
from tests.compile_requests import g2p_request, models_request
from tests.silent import Silent

load_commands()
ROOT = Path(__file__).parents[2]
SCALED = Path(__file__).with_name("scaled_model.py")
LANGUAGE = "random:tiny-llama"
WORDS = ("Char", "siu", "internationalization")


@dataclass(frozen=True)
class AppModels:
    """Hold the library with its archive, PyTorch's phonemes of the words, and its tokens after a prompt."""

    library: Path
    archive: Archive
    phonemes: list[str]
    prompt: list[int]
    tokens: list[int]


@pytest.fixture(scope="session")
def app_models(user_cache: Cache) -> AppModels:
    """The embedded model, scaled_model.py's and a small language model in one library of this machine."""
    embedded = resolve_checkpoint("embedded", cache=user_cache)
    sources = [ModelSource("scaled_model.py", SCALED)]
    scaled = models_request(describe_models(sources, cache=user_cache, progress=quiet))
    g2p = g2p_request(embedded)
    [llama] = open_language_models([LANGUAGE], ModelOptions(), user_cache, quiet)
    request = replace(g2p, models=[*g2p.models, llama.compilable(""), *scaled.models])
    archive = compile_models(request, cache=user_cache, progress=quiet)
    library = build_library(archive, cache=user_cache, progress=quiet)
    words = [Word("eng-us", word, ()) for word in WORDS]
    expected = reference_outputs(embedded, words, ReferenceOptions(), cache=user_cache, progress=quiet)
    prompt, answers = llama.prompts["16_tokens"], llama.expected(quiet).answers
    tokens = list(answers["16_tokens"].token_ids)
    return AppModels(library, archive, [item.text for item in expected.items], prompt, tokens)


def quiet(_text: str) -> None:
    pass


@dataclass(frozen=True)
class Measured:
    """Hold a run of this machine's device runner, and the orders that it gives an app."""

    run: Run
    orders: Path

    @property
    def results(self) -> list[str]:
        return ["--results-dir", str(self.run.folder.parent)]


def harness(*arguments: str) -> tuple[int, str]:
    done = CliRunner().invoke(app, list(arguments), catch_exceptions=False)
    return done.exit_code, done.stdout


@pytest.fixture(scope="session")
def measured(app_models: AppModels, tmp_path_factory: pytest.TempPathFactory) -> Measured:
    folder = tmp_path_factory.mktemp("measured")
    (folder / "words.tsv").write_text("".join(f"eng-us\t{word}\t\n" for word in WORDS), encoding="utf-8")
    options = RunOptions(
        models=("g2p", str(SCALED), LANGUAGE),
        own={"words": folder / "words.tsv"},
        warmup=1,
        repeat=2,
        results_dir=folder / "results",
    )
    device = HostDevice(lock_folder=folder / "locks")
    session = RunSession(options, device, Silent(), builder=CachedBuilder(quiet))
    session.start()
    for workload in session.workloads.values():
        workload.parity(), workload.times()
    summary = session.finish()
    assert summary.verdict is RunVerdict.PASS, summary.reasons
    run = Store(folder / "results").find("latest")
    [facts] = run.manifest().variants.values()
    assert facts.archive_sha256 == app_models.archive.sha256
    orders = folder / "orders.jsonl"
    found = Measured(run, orders)
    code, text = harness("selftest", "orders", run.run_id, "--output", str(orders), *found.results)
    assert (code, text.startswith(f"{orders}: 6 orders with ")) == (0, True)
    return found
