"""Which weights: each kind of --checkpoint, and every way in which one can be unusable."""

from __future__ import annotations

import json
import shutil
import time
from pathlib import Path

import pytest

from harness.core.cache import Cache
from harness.core.errors import ExitCode, UsageError
from harness.models.errors import BadCheckpoint, CheckpointUnavailable
from harness.models.g2p.checkpoints import EMBEDDED_FOLDER, Checkpoint, resolve_checkpoint
from harness.models.g2p.languages import GRUUT_LANGUAGES
from harness.models.g2p.loading import load_checkpoint

pytestmark = pytest.mark.programs


def test_the_embedded_model_is_whole_and_small(cache: Cache) -> None:
    checkpoint = resolve_checkpoint("embedded", cache=cache)
    assert checkpoint.languages == tuple(GRUUT_LANGUAGES)
    assert (EMBEDDED_FOLDER / "model.safetensors").stat().st_size <= 10_000_000
    t5 = load_checkpoint(checkpoint.folder)
    assert t5.config.vocab_size == 384
    assert t5.lm_head.weight is not t5.shared.weight


def test_random_weights_have_the_published_size_and_are_reproducible(cache: Cache, tmp_path: Path) -> None:
    first = resolve_checkpoint("random:tiny-8", cache=cache)
    again = resolve_checkpoint("random:tiny-8", cache=Cache(tmp_path / "other"))
    assert first.sha256 == again.sha256
    t5 = load_checkpoint(first.folder)
    assert sum(p.numel() for p in t5.parameters()) == pytest.approx(16e6, rel=0.1)


def test_a_folder_is_a_checkpoint(small_checkpoint: Checkpoint, cache: Cache) -> None:
    resolved = resolve_checkpoint(str(small_checkpoint.folder), cache=cache)
    assert resolved.sha256 == small_checkpoint.sha256
    assert resolved.languages is None


@pytest.mark.parametrize("kept", [0.999, 0.5, 0.0])
def test_truncated_weights_are_named(small_checkpoint: Checkpoint, tmp_path: Path, cache: Cache, kept: float) -> None:
    folder = Path(shutil.copytree(small_checkpoint.folder, tmp_path / "broken"))
    weights = folder / "model.safetensors"
    data = weights.read_bytes()
    weights.write_bytes(data[: int(len(data) * kept)])
    with pytest.raises(BadCheckpoint, match=r"model\.safetensors is corrupt or truncated") as caught:
        resolve_checkpoint(str(folder), cache=cache)
    assert caught.value.exit_code is ExitCode.USAGE


def test_a_corrupt_header_is_named(small_checkpoint: Checkpoint, tmp_path: Path, cache: Cache) -> None:
    folder = Path(shutil.copytree(small_checkpoint.folder, tmp_path / "broken"))
    weights = folder / "model.safetensors"
    data = bytearray(weights.read_bytes())
    data[8:40] = b"\xff" * 32
    weights.write_bytes(data)
    with pytest.raises(BadCheckpoint, match="corrupt"):
        resolve_checkpoint(str(folder), cache=cache)


def test_missing_weights_are_named_when_loaded(small_checkpoint: Checkpoint, tmp_path: Path, cache: Cache) -> None:
    folder = Path(shutil.copytree(small_checkpoint.folder, tmp_path / "deeper"))
    config = json.loads((folder / "config.json").read_text())
    config["num_layers"] += 1
    (folder / "config.json").write_text(json.dumps(config))
    resolved = resolve_checkpoint(str(folder), cache=cache)
    with pytest.raises(BadCheckpoint, match=r"lacks weights.*encoder\.block\.2"):
        load_checkpoint(resolved.folder)


@pytest.mark.parametrize("missing", ["config.json", "model.safetensors"])
def test_a_folder_without_a_file_is_refused(
    small_checkpoint: Checkpoint, tmp_path: Path, cache: Cache, missing: str
) -> None:
    folder = Path(shutil.copytree(small_checkpoint.folder, tmp_path / "partial"))
    (folder / missing).unlink()
    with pytest.raises(BadCheckpoint, match=r"has no config\.json"):
        resolve_checkpoint(str(folder), cache=cache)


def test_another_architecture_is_refused(tmp_path: Path, cache: Cache) -> None:
    (tmp_path / "config.json").write_text('{"model_type": "bert"}')
    (tmp_path / "model.safetensors").write_bytes(b"")
    with pytest.raises(BadCheckpoint, match="does not describe a T5"):
        resolve_checkpoint(str(tmp_path), cache=cache)


def test_an_unknown_random_name_lists_the_known(cache: Cache) -> None:
    with pytest.raises(UsageError, match="random:huge") as caught:
        resolve_checkpoint("random:huge", cache=cache)
    assert "random:tiny-8" in caught.value.cure


@pytest.mark.parametrize("text", ["/nowhere/at/all", "./nothing", "plain", "a/b/c"])
def test_what_is_neither_folder_nor_hub_id_is_refused_at_once(cache: Cache, text: str) -> None:
    with pytest.raises(BadCheckpoint, match="neither a folder nor a hub id"):
        resolve_checkpoint(text, cache=cache)


def test_an_unreachable_hub_is_told_within_seconds(
    cache: Cache, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A hub that refuses connections, whatever network this machine has.
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    began = time.monotonic()
    with pytest.raises(CheckpointUnavailable, match="charsiu/g2p_multilingual_byT5_tiny_8_layers_100") as caught:
        resolve_checkpoint("charsiu/g2p_multilingual_byT5_tiny_8_layers_100", cache=cache)
    assert "--checkpoint embedded" in caught.value.cure
    assert "--checkpoint FOLDER" in caught.value.cure
    assert caught.value.exit_code is ExitCode.INFRASTRUCTURE
    assert time.monotonic() - began < 30
