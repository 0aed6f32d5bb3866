"""Read a model of transformers from its folder, or from the Hugging Face Hub by its identifier. Loads no pickle."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.export import Dim

from harness.models.tensor.readers.made import MOST_TOKENS, name_of, noise, pictures, tokens
from harness.models.tensor.sources import BadModel
from harness.models.tensor.spec import ModelSpec

KEPT = ("*.json", "*.safetensors")
SAMPLES = 16_000
"""One second of sound at the rate that speech models take."""
WRITE = "describe it in a Python file of its own, as docs/your-model.md shows"


def spec(argument: str) -> ModelSpec:
    """Return the spec of a folder with a ``config.json``. Inputs are made from the configuration. Raises BadModel."""
    folder = Path(argument)
    return _spec(folder, name_of(folder.name))


def hub_spec(argument: str) -> ModelSpec:
    """Return the spec of a model of the Hub, from huggingface_hub's cache or downloaded into it. Raises BadModel."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HFValidationError

    try:
        try:
            found = snapshot_download(argument, allow_patterns=[*KEPT], local_files_only=True)
        except HFValidationError:
            raise
        except Exception:  # Not in the cache yet; the libraries below raise many kinds.
            found = snapshot_download(argument, allow_patterns=[*KEPT])
    except Exception as error:
        raise BadModel(
            f"{argument} is not available from the Hugging Face Hub: {error}",
            cure="see that the identifier is right and the Hub can be reached, or give a folder with its files",
        ) from error
    return _spec(Path(found), name_of(argument.rpartition("/")[2]))


def _spec(folder: Path, name: str) -> ModelSpec:
    config = _config(folder, name)
    kind = _class(config, name)
    examples, dynamic = _inputs(kind, config, name)
    first = next(iter(examples.values()))
    return ModelSpec(
        name=name,
        build=lambda: _load(kind, folder),
        example_inputs=first,
        items=examples,
        dynamic_shapes=dynamic,
        files=sorted(path for pattern in KEPT for path in folder.glob(pattern)),
    )


def _config(folder: Path, name: str) -> Any:
    from transformers import AutoConfig

    try:
        config = AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    except Exception as error:  # transformers raises several kinds.
        raise BadModel(f"the configuration of {name} cannot be used: {error}", cure=WRITE) from error
    if config.is_encoder_decoder:
        raise BadModel(
            f"{name} is an encoder with a decoder, which generates step by step",
            cure="ByT5 checkpoints are run by --checkpoint; for others " + WRITE,
        )
    return config


def _class(config: Any, name: str) -> Any:
    import transformers

    wanted = [str(one) for one in config.architectures or ()]
    found = getattr(transformers, wanted[0], None) if wanted and wanted[0].isidentifier() else None
    if not (isinstance(found, type) and issubclass(found, transformers.PreTrainedModel)):
        raise BadModel(f"{name} is {wanted or 'of no architecture'}, which transformers does not have", cure=WRITE)
    return found


def _load(kind: Any, folder: Path) -> nn.Module:
    try:
        model: nn.Module = kind.from_pretrained(
            folder, local_files_only=True, use_safetensors=True, trust_remote_code=False, dtype=torch.float32
        )
    except OSError as error:
        raise BadModel(
            f"the weights in {folder.name} cannot be loaded: {error}",
            cure="weights are read from *.safetensors only: a pickle may run anything",
        ) from error
    configuration: Any = model.config
    configuration.use_cache = False
    return model


def _inputs(kind: Any, config: Any, name: str) -> tuple[dict[str, dict[str, Tensor]], dict[str, dict[int, Any]]]:
    """Return items and dynamic dimensions for what the class takes first."""
    main = kind.main_input_name
    if main == "input_ids" and getattr(config, "vocab_size", None):
        most = min(getattr(config, "max_position_embeddings", None) or MOST_TOKENS, MOST_TOKENS)
        if most < 4:
            raise BadModel(f"{name} takes {most} tokens at most", cure=WRITE)
        lengths = sorted({max(3, most // 8), max(3, most // 4), most // 2})
        items = {f"{length} tokens": {main: tokens(length, config.vocab_size, length)} for length in lengths}
        return items, {main: {1: Dim("tokens", min=2, max=most)}}
    if main == "pixel_values":
        size = getattr(config, "image_size", None) or 224
        height, width = (int(size), int(size)) if isinstance(size, int) else (int(one) for one in size)
        shape = (int(getattr(config, "num_channels", None) or 3), height, width)
        return {item: {main: picture} for item, picture in pictures(shape).items()}, {}
    if main == "input_values":
        return {f"noise {seed}": {main: noise((1, SAMPLES), seed)} for seed in (1, 2)}, {}
    raise BadModel(f"{name} takes {main}, and the harness cannot make such inputs", cure=WRITE)
