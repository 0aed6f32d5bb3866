"""Read the keys of a language model's ``config.json`` one by one, so that none is passed over.

Imports no PyTorch, since the main process looks at models too.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from harness.core.errors import UsageError

Activation = Literal["silu", "gelu", "gelu_tanh", "relu"]
ACTIVATIONS: Mapping[str, Activation] = {
    "silu": "silu",
    "swish": "silu",
    "gelu": "gelu",
    "gelu_new": "gelu_tanh",
    "gelu_pytorch_tanh": "gelu_tanh",
    "relu": "relu",
}
"""The feed-forward's functions, by the names of configurations."""
MOST_CONFIG_BYTES = 1 << 20
IGNORED = frozenset(
    {
        *("_name_or_path", "architectures", "auto_map", "torch_dtype", "dtype", "transformers_version", "use_cache"),
        *("bos_token_id", "eos_token_id", "pad_token_id", "unk_token_id", "initializer_range", "model_type"),
        *("attention_dropout", "hidden_dropout", "resid_pdrop", "embd_pdrop", "attn_pdrop", "pretraining_tp"),
        *("output_attentions", "output_hidden_states", "return_dict", "id2label", "label2id", "problem_type"),
        *("task_specific_params", "summary_type", "summary_use_proj", "summary_proj_to_labels", "is_llama_config"),
        *("summary_first_dropout", "summary_activation", "rope_interleaved", "chunk_size_feed_forward", "n_ctx"),
        *("reorder_and_upcast_attn", "transformers.js_config", "max_window_layers", "hidden_activation"),
    }
)
"""Keys that change no number of a forward pass, or that are read together with another one."""


class UnknownPart(UsageError):
    """A configuration asks for a part that the description of blocks does not have."""

    cure = (
        "run it as a model of tensors, described in a Python file (docs/your-model.md); docs/generation.md lists parts"
    )


class KeyReader:
    """Take a configuration's keys one by one; what nobody took in the end is unknown."""

    def __init__(self, config: Mapping[str, Any]) -> None:
        self.config, self.taken = config, set(IGNORED)

    def get(self, key: str, default: Any = None) -> Any:
        self.taken.add(key)
        found = self.config.get(key)
        return default if found is None else found

    def size(self, key: str, default: int | None = None) -> int:
        found = self.get(key, default)
        if found is None:
            raise UnknownPart(f"the configuration has no {key}", cure="see that config.json is a model's, and whole")
        if isinstance(found, bool) or not isinstance(found, int) or found < 1:
            raise UnknownPart(f"{key} is {found!r}", cure="it must be a whole number from 1 on")
        return found

    def number(self, key: str, default: float) -> float:
        found = self.get(key, default)
        if isinstance(found, bool) or not isinstance(found, int | float) or not 0 < found < 1e12:
            raise UnknownPart(f"{key} is {found!r}", cure="it must be a number above 0")
        return float(found)

    def flag(self, key: str, default: bool = False) -> bool:
        found = self.get(key, default)
        if not isinstance(found, bool):
            raise UnknownPart(f"{key} is {found!r}", cure="it must be true or false")
        return found

    def activation(self, key: str, default: str) -> Activation:
        found = self.get(key, default)
        if found not in ACTIVATIONS:
            raise UnknownPart(f"the activation {key} is {found!r}, known are {', '.join(ACTIVATIONS)}")
        return ACTIVATIONS[found]

    def finish(self) -> None:
        """Raise UnknownPart for the first key that asks for something and that nobody has read."""
        for key, value in self.config.items():
            if key not in self.taken and value not in (None, False, 0, 0.0, "", [], {}):
                raise UnknownPart(
                    f"{self.config['model_type']} with {key} = {short_json(value)}: that part is not known"
                )


def short_json(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 60 else text[:57] + "..."


def read_config(path: Path) -> dict[str, Any]:
    """Return a ``config.json`` unchanged. Raises UnknownPart if it is not a JSON object of a usual size."""
    try:
        if path.stat().st_size > MOST_CONFIG_BYTES:
            raise UnknownPart(f"{path} has more than {MOST_CONFIG_BYTES} bytes", cure="give a model's config.json")
        found = json.loads(path.read_bytes())
    except (OSError, ValueError) as error:
        raise UnknownPart(f"{path} cannot be read: {error}", cure="give a folder with a model's config.json") from error
    if not isinstance(found, dict):
        raise UnknownPart(f"{path} is no JSON object", cure="give a folder with a model's config.json")
    return found
