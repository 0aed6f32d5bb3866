"""A bundle holds what it takes to explain elsewhere, and the command says by its exit status what was found."""

from __future__ import annotations

import zipfile
from dataclasses import dataclass
from pathlib import Path

import pytest
from typer.testing import CliRunner

from harness.cli.app import app, load_commands
from harness.core.cache import Cache
from harness.explain import CannotExplain, Explanation, NothingToExplain, options_of
from harness.explain import run as explaining
from harness.explain.bundle import BadBundle, opened_bundle, write_bundle
from harness.explain.choice import find_subject
from harness.explain.generation import GenerationSubject
from harness.explain.subject import subject_of
from harness.models.g2p.checkpoints import Checkpoint, resolve_checkpoint
from harness.models.g2p.options import G2POptions
from harness.models.g2p.workload import G2P
from harness.models.options import ModelOptions
from harness.results import Run
from harness.results.store import PARITY
from harness.validate import Verdict
from tests.explain.explanations import DEPARTED, GOOD, explanation, row
from tests.explain.stored import stored

pytestmark = pytest.mark.compiler


def of(checkpoint: Checkpoint, tmp_path: Path) -> OpensOne:
    return OpensOne(G2P(checkpoint, ModelOptions(), (), Cache(tmp_path / "cache")))


@dataclass(frozen=True)
class OpensOne:
    """A builder that always opens one workload."""

    workload: G2P

    def workloads(self, _options: object, _progress: object) -> list[G2P]:
        return [self.workload]


def subject(run: Run, item: str | None, builder: OpensOne) -> GenerationSubject:
    found = subject_of(run, find_subject(run, item), options_of(run), builder, print)  # type: ignore[arg-type]
    assert isinstance(found, GenerationSubject)
    return found


def test_the_first_word_that_fails_is_taken_with_all_before_it(tmp_path: Path, small_checkpoint: Checkpoint) -> None:
    run = stored(tmp_path, small_checkpoint, Verdict.EQUAL, Verdict.TIE, Verdict.MISMATCH, Verdict.MISMATCH)
    found = subject(run, None, of(small_checkpoint, tmp_path))
    assert (found.chosen.item, found.chosen.variant, found.chosen.last_step) == ("w2", "cacheless", 1)
    assert [(item.id, item.input) for item in found.items(1)] == [(f"w{at}", f"<ger>: wortw{at}") for at in range(3)]
    assert [item.id for item in found.items(4)] == ["w2"]
    tie = find_subject(run, "w1")
    assert tie.parity is not None
    assert (tie.parity.verdict, tie.last_step) == (Verdict.TIE, 1)
    assert find_subject(run, "w0").last_step == 2
    with pytest.raises(NothingToExplain, match=r"has no word 'w9'[^\n]*\n  → name a word's id, or MODEL/ITEM"):
        find_subject(run, "w9")


def test_a_word_is_explained_in_the_variant_that_was_timed(tmp_path: Path, small_checkpoint: Checkpoint) -> None:
    for timed, variant in ((True, "cache"), (False, "cacheless")):
        run = stored(tmp_path, small_checkpoint, Verdict.EQUAL, variant="cache", use_kv_cache=timed)
        (line,) = run.parity()
        with (run.folder / PARITY).open("a") as lines:
            lines.write(line.model_copy(update={"variant": "cacheless"}).model_dump_json() + "\n")
        assert find_subject(run, "w0").variant == variant


def test_a_word_that_was_not_reached_is_a_failure_too(tmp_path: Path, small_checkpoint: Checkpoint) -> None:
    run = stored(tmp_path, small_checkpoint, Verdict.EQUAL, Verdict.MISSING)
    assert find_subject(run, None).item == "w1"


def test_a_run_without_failures_says_so(tmp_path: Path, small_checkpoint: Checkpoint) -> None:
    run = stored(tmp_path, small_checkpoint, Verdict.EQUAL)
    with pytest.raises(NothingToExplain, match="nothing of run"):
        find_subject(run, None)


def test_another_checkpoint_than_the_runs_is_refused(tmp_path: Path, small_checkpoint: Checkpoint) -> None:
    run = stored(tmp_path, small_checkpoint, Verdict.MISMATCH)

    changed = Checkpoint(small_checkpoint.label, small_checkpoint.folder, "0" * 64, None)
    with pytest.raises(CannotExplain, match="not the one of run"):
        subject(run, None, of(changed, tmp_path))


def test_a_bundle_is_a_run_elsewhere(tmp_path: Path, small_checkpoint: Checkpoint) -> None:
    run = stored(tmp_path / "results", small_checkpoint, Verdict.EQUAL, Verdict.MISMATCH)
    path = tmp_path / "failure.zip"
    found = explanation([row(0, GOOD, GOOD)], item="w1", versions={"torch": "1"}, checkpoint_sha256="abc")
    write_bundle(path, run, found, of(small_checkpoint, tmp_path).workload.weight_files())
    with zipfile.ZipFile(path) as bundle:
        assert "harness explain failure.zip" in bundle.read("README.md").decode()
        assert bundle.read("words.tsv").decode() == "ger\twortw0\nger\twortw1\n"
    with opened_bundle(path) as (elsewhere, item):
        assert item == "w1"
        options = options_of(elsewhere)
        checkpoint = G2POptions.of(options).checkpoint
        assert Path(checkpoint).parent == elsewhere.folder
        assert resolve_checkpoint(checkpoint, cache=Cache(tmp_path)).sha256 == small_checkpoint.sha256
        assert find_subject(elsewhere, item).parity == find_subject(run, item).parity
    assert not elsewhere.folder.exists()


def test_what_is_no_bundle_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.zip"
    for content in (b"", b"no zip"):
        path.write_bytes(content)
        with pytest.raises(BadBundle), opened_bundle(path):
            pass
    with pytest.raises(BadBundle), opened_bundle(tmp_path / "missing.zip"):
        pass


@pytest.mark.parametrize(("found", "code"), [(DEPARTED, 1), (explanation([row(0, GOOD, GOOD)]), 0)])
def test_the_exit_status_says_whether_something_departs(
    tmp_path: Path, small_checkpoint: Checkpoint, monkeypatch: pytest.MonkeyPatch, found: Explanation, code: int
) -> None:
    run = stored(tmp_path / "results", small_checkpoint, Verdict.MISMATCH)
    monkeypatch.setattr(explaining, "explain", lambda *_arguments, **_options: found)
    load_commands()
    page, bundle = tmp_path / "page.html", tmp_path / "failure.zip"
    arguments = ["explain", run.run_id, "--results-dir", str(run.folder.parent), "--markdown", "--html", str(page)]
    result = CliRunner().invoke(app, [*arguments, "--bundle", str(bundle)], catch_exceptions=False)
    assert result.exit_code == code, result.output
    assert ("first operation that diverges" in result.output) == (code == 1)
    assert page.stat().st_size > 1000
    assert zipfile.is_zipfile(bundle)
