"""Find the weights: ``embedded``, ``random:tiny-8``, a folder or a hub id. Imports no PyTorch."""

from __future__ import annotations

import hashlib
import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from harness.core.cache import Cache, content_key, hash_file
from harness.core.errors import UsageError
from harness.models.errors import BadCheckpoint, CheckpointUnavailable
from harness.models.g2p.languages import GRUUT_LANGUAGES

EMBEDDED = "embedded"
EMBEDDED_FOLDER = Path(__file__).parent / "embedded"
WEIGHT_FILES = ("model.safetensors", "pytorch_model.bin")
HUB_TIMEOUT_SECONDS = 5


@dataclass(frozen=True)
class Checkpoint:
    """Describe a folder that transformers can load. ``languages`` is None if any language code may be given."""

    label: str
    folder: Path
    sha256: str
    languages: tuple[str, ...] | None


RANDOM_CONFIGS: dict[str, dict[str, Any]] = {
    "random:tiny-8": {
        "d_model": 256,
        "d_kv": 64,
        "num_heads": 6,
        "d_ff": 1024,
        "num_layers": 8,
        "num_decoder_layers": 4,
    },
}
"""The published checkpoint's dimensions with seeded weights, for work on speed at the real size."""


def resolve_checkpoint(text: str, *, cache: Cache) -> Checkpoint:
    """Return the checkpoint that ``--checkpoint`` names.

    Raises UsageError for an unknown ``random:`` name, BadCheckpoint for an unusable folder and
    CheckpointUnavailable when a hub id cannot be fetched.
    """
    if text == EMBEDDED:
        return Checkpoint(EMBEDDED, EMBEDDED_FOLDER, check_folder(EMBEDDED_FOLDER), tuple(GRUUT_LANGUAGES))
    if text.startswith("random:"):
        return _random(text, cache)
    folder = Path(text).expanduser()
    if folder.is_dir():
        return Checkpoint(text, folder.resolve(), check_folder(folder), None)
    if text.startswith((".", "/", "~")) or text.count("/") != 1:
        raise BadCheckpoint(
            f"{text!r} is neither a folder nor a hub id",
            cure=f"give {EMBEDDED}, {', '.join(RANDOM_CONFIGS)}, a folder with config.json and weights, or OWNER/NAME",
        )
    folder = _download(text)
    return Checkpoint(text, folder, check_folder(folder), None)


def check_folder(folder: Path) -> str:
    """Return the SHA-256 over the configuration and the weights; raises BadCheckpoint if one is missing or damaged."""
    config = folder / "config.json"
    weights = next((folder / name for name in WEIGHT_FILES if (folder / name).is_file()), None)
    if not config.is_file() or weights is None:
        raise BadCheckpoint(f"{folder} has no config.json with one of {', '.join(WEIGHT_FILES)} next to it")
    try:
        described = json.loads(config.read_text(encoding="utf-8"))
    except (ValueError, OSError) as error:
        raise BadCheckpoint(f"{config} cannot be read: {error}") from error
    if not isinstance(described, dict) or described.get("model_type") != "t5":
        raise BadCheckpoint(f"{config} does not describe a T5 model", cure="give the folder of a ByT5 checkpoint")
    if weights.suffix == ".safetensors":
        try:
            with safe_open(weights, framework="numpy") as tensors:
                if not tensors.keys():
                    raise BadCheckpoint(f"{weights} holds no tensors")
        except (SafetensorError, OSError) as error:
            raise BadCheckpoint(f"{weights} is corrupt or truncated: {error}") from error
    return hashlib.sha256(f"{hash_file(config)} {hash_file(weights)}".encode()).hexdigest()


def _random(name: str, cache: Cache) -> Checkpoint:
    if name not in RANDOM_CONFIGS:
        raise UsageError(f"unknown checkpoint {name!r}", cure=f"known are {', '.join(RANDOM_CONFIGS)}")
    dimensions = RANDOM_CONFIGS[name]
    fields = {"random": name, "dimensions": dimensions, "recipe": 1, "numpy": np.__version__}
    folder = cache.fetch("checkpoints", content_key(fields), lambda path: write_random(path, dimensions))
    return Checkpoint(name, folder, check_folder(folder), tuple(GRUUT_LANGUAGES))


def write_random(folder: Path, dimensions: dict[str, Any], seed: int = 0) -> None:
    """Write a T5 v1.1 checkpoint with T5's initial distribution, drawn by numpy so that PyTorch is not needed."""
    config = {
        "architectures": ["T5ForConditionalGeneration"],
        "model_type": "t5",
        "vocab_size": 384,
        "feed_forward_proj": "gated-gelu",
        "tie_word_embeddings": False,
        "relative_attention_num_buckets": 32,
        "relative_attention_max_distance": 128,
        "layer_norm_epsilon": 1e-6,
        "dropout_rate": 0.0,
        "decoder_start_token_id": 0,
        "pad_token_id": 0,
        "eos_token_id": 1,
        **dimensions,
    }
    (folder / "config.json").write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
    save_file(_random_weights(config, np.random.default_rng(seed)), folder / "model.safetensors", {"format": "pt"})


def _random_weights(config: dict[str, Any], rng: np.random.Generator) -> dict[str, npt.NDArray[np.float32]]:
    model, inner, hidden = config["d_model"], config["num_heads"] * config["d_kv"], config["d_ff"]
    weights: dict[str, npt.NDArray[np.float32]] = {}

    def draw(name: str, rows: int, columns: int, std: float) -> None:
        weights[f"{name}.weight"] = (rng.standard_normal((rows, columns)) * std).astype(np.float32)

    def norm(name: str) -> None:
        weights[f"{name}.weight"] = np.ones(model, np.float32)

    def attention(name: str, *, with_bias: bool) -> None:
        draw(f"{name}.q", inner, model, 1 / math.sqrt(model * config["d_kv"]))
        draw(f"{name}.k", inner, model, 1 / math.sqrt(model))
        draw(f"{name}.v", inner, model, 1 / math.sqrt(model))
        draw(f"{name}.o", model, inner, 1 / math.sqrt(inner))
        if with_bias:
            draw(f"{name}.relative_attention_bias", 32, config["num_heads"], 1 / math.sqrt(model))

    def feed_forward(name: str) -> None:
        draw(f"{name}.DenseReluDense.wi_0", hidden, model, 1 / math.sqrt(model))
        draw(f"{name}.DenseReluDense.wi_1", hidden, model, 1 / math.sqrt(model))
        draw(f"{name}.DenseReluDense.wo", model, hidden, 1 / math.sqrt(hidden))
        norm(f"{name}.layer_norm")

    draw("shared", config["vocab_size"], model, 1.0)
    draw("lm_head", config["vocab_size"], model, 1.0)
    for stack, layers, cross in (
        ("encoder", config["num_layers"], False),
        ("decoder", config["num_decoder_layers"], True),
    ):
        for index in range(layers):
            block = f"{stack}.block.{index}.layer"
            attention(f"{block}.0.SelfAttention", with_bias=index == 0)
            norm(f"{block}.0.layer_norm")
            if cross:
                attention(f"{block}.1.EncDecAttention", with_bias=False)
                norm(f"{block}.1.layer_norm")
            feed_forward(f"{block}.{2 if cross else 1}")
        norm(f"{stack}.final_layer_norm")
    return weights


def _download(hub_id: str) -> Path:
    """Fetch a hub repository through huggingface_hub, as transformers would, without long retries."""
    import huggingface_hub
    from huggingface_hub.errors import (
        HfHubHTTPError,
        HFValidationError,
        LocalEntryNotFoundError,
        RepositoryNotFoundError,
    )

    try:
        return Path(
            huggingface_hub.snapshot_download(
                hub_id,
                allow_patterns=["config.json", "generation_config.json", *WEIGHT_FILES],
                etag_timeout=HUB_TIMEOUT_SECONDS,
                max_workers=1,
            )
        )
    except (RepositoryNotFoundError, HFValidationError) as error:
        raise CheckpointUnavailable(f"the hub has no checkpoint {hub_id!r}") from error
    except (LocalEntryNotFoundError, HfHubHTTPError, OSError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise CheckpointUnavailable(f"cannot reach the model hub for {hub_id!r}: {reason}") from error
