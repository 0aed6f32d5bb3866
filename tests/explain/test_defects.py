"""Ten seeded defects: each fails parity, as users' runs are judged, and is traced to the module that it sits in."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from harness.devices import HostDevice
from harness.explain import Explanation, explain
from harness.models.g2p.checkpoints import Checkpoint, check_folder, write_random
from harness.models.options import with_own
from harness.results import ParityLine, Run, RunVerdict, Store, Summary
from harness.run.builder import RunOptions
from harness.run.session import RunSession
from tests.broken_kernels import OneArchive
from tests.conftest import SMALL
from tests.explain.defects import DEFECTS, Defect, Inject, float16_overflow, missing_last_tile, stale_cache
from tests.silent import Silent
from tests.workers import work_here

pytestmark = pytest.mark.compiler

WORDS = "eng-us\tword\twɚd\nfra\toui\twi\nger\thaus\thaʊ̯s\n"

USUAL = RunOptions(repeat=1, own={"max_output_len": 16})


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch) -> None:
    work_here(monkeypatch)


@pytest.fixture(scope="session")
def wide_checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Checkpoint:
    """The small checkpoint with a scale in two factors, powers of two that float32 takes exactly: keys of the last
    layer's cross attention are beyond float16, its queries small."""
    folder = tmp_path_factory.mktemp("wide-checkpoint")
    write_random(folder, SMALL, seed=7)
    weights = load_file(folder / "model.safetensors")
    weights["decoder.block.1.layer.1.EncDecAttention.k.weight"] *= np.float32(2**17)
    weights["decoder.block.1.layer.1.layer_norm.weight"] *= np.float32(2**-17)
    save_file(weights, folder / "model.safetensors", {"format": "pt"})
    return Checkpoint(str(folder), folder, check_folder(folder), None)


@contextmanager
def defective(inject: Inject, checkpoint: Checkpoint) -> Iterator[None]:
    """Compile with a defect, which the explanation's own exports do not have: it takes place in this process, too."""
    with pytest.MonkeyPatch.context() as patch:
        inject(patch, checkpoint)
        yield


def judged(
    checkpoint: Checkpoint, folder: Path, builder: OneArchive, options: RunOptions = USUAL
) -> tuple[Run, Summary, Sequence[ParityLine]]:
    """A run of a few words on this machine."""
    words = folder / "words.tsv"
    words.write_text(WORDS, encoding="utf-8")
    options = replace(with_own(options, checkpoint=str(checkpoint.folder), words=words), results_dir=folder / "results")
    session = RunSession(options, HostDevice(), Silent(), builder=builder)
    session.start()
    lines = session.workloads["g2p"].parity()
    summary = session.finish()
    return Store(folder / "results").find("latest"), summary, lines


def explained(run: Run, builder: OneArchive, item: str | None = None) -> Explanation:
    return explain(run, item=item, builder=builder, device=HostDevice(), reporter=Silent())


@pytest.mark.usefixtures("here")
def test_without_a_defect_nothing_is_found(wide_checkpoint: Checkpoint, tmp_path: Path) -> None:
    """The control: without it, a test that always finds something would pass."""
    builder = OneArchive(tmp_path / "cache")
    run, summary, _lines = judged(wide_checkpoint, tmp_path, builder)
    assert summary.verdict is RunVerdict.PASS, summary.reasons
    found = explained(run, builder, item="w00002")
    assert found.function is None
    assert len([row for row in found.rows if row.own is not None]) > len(found.rows) / 2


@pytest.mark.thorough(keep=["stale_cache"])
@pytest.mark.usefixtures("here")
@pytest.mark.parametrize("defect", DEFECTS, ids=[defect.name for defect in DEFECTS])
def test_a_defect_fails_parity_and_is_located(wide_checkpoint: Checkpoint, tmp_path: Path, defect: Defect) -> None:
    builder = OneArchive(tmp_path / "cache")
    with defective(defect.inject, wide_checkpoint):
        run, summary, lines = judged(wide_checkpoint, tmp_path, builder)
    assert summary.verdict is RunVerdict.FAIL
    # A float16 that overflowed ends as NaN in the logits, and such a word has no answer.
    assert ("no answer" if defect.inject is float16_overflow else "words differ") in summary.reasons[0]
    if defect.inject is stale_cache:
        # Only what was decoded before shows it.
        assert not lines[0].verdict.fails
    found = explained(run, builder)
    assert (found.function, found.module) == (defect.function, defect.module)
    assert defect.operator in found.operators


@pytest.mark.thorough
@pytest.mark.usefixtures("here")
def test_a_defect_in_an_int8_archive_without_a_cache_and_with_batches_is_located(
    wide_checkpoint: Checkpoint, tmp_path: Path
) -> None:
    """The second of two words of a batch runs alone, beside a row of padding."""
    builder = OneArchive(tmp_path / "cache")
    options = replace(with_own(USUAL, batch_size=2), precision="int8", use_kv_cache=False)
    with defective(missing_last_tile, wide_checkpoint):
        run, summary, _lines = judged(wide_checkpoint, tmp_path, builder, options)
    assert summary.verdict is RunVerdict.FAIL
    found = explained(run, builder, item="w00001")
    assert (found.variant, found.precision, found.reproduced) == ("cacheless", "int8", True)
    assert (found.function, found.module) == ("encoder", "encoder.feed_forwards.1")
    assert {row.function for row in found.rows} == {"encoder", "decoder"}
    assert 0.8 < found.coverage.compared / found.coverage.calls < 1
