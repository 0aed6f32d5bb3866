"""Define a decoder-only language model as a workload: prompts of token ids, and the tokens that follow them."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from harness.core.cache import Cache, hash_file, hash_sources
from harness.core.errors import UsageError
from harness.core.progress import Progress
from harness.measure.sampling import spread_order
from harness.models.generation import MAX_OUTPUT_LEN, GreedyWorkload
from harness.models.kinds import WorkloadKind
from harness.models.language.configurations import CONFIGURATIONS
from harness.models.language.description import Decoder, UnknownPart, describe, read_config
from harness.models.language.reference import reference_outputs
from harness.models.options import ModelOption, ModelOptions
from harness.models.workload import Compilable, Expected, TimedModel
from harness.protocol.schema import PRECISIONS, AnyRecord, Kind, Precision, RecordOptions, WorkItem
from harness.protocol.tensors import encode
from harness.validate import Decoded, ItemParity, answerless, compare_forced, decodings

RANDOM, FOLDER = "random:", "generate:"
"""What begins the names of models with seeded weights, and of folders."""
FUNCTIONS = ("prefill", "step")
PROMPTS = (16, 64, 128)
"""The lengths of the prompts, in tokens."""
MOST_TOKENS = 64
"""The tokens that follow each prompt, unless --max-output-len asks for fewer."""
BLOCK = 128
"""The rows of a prompt that one call of the prefill takes at most."""
CACHE_BLOCK = 16
"""Caches contain whole blocks of this many positions, so that every instruction set's vectors divide them."""
SEED = 0
LOSSY_TIES: Mapping[Precision, float] = {"fp32": 0.0, "fp16": 0.02, "int8": 0.25, "int4": 1.5}
"""The top-2 margin of logits up to which another token of a lossy model is a tie (``docs/generation.md``)."""
INT4_GROUP = ModelOption(
    "--int4-group",
    "inputs that share a scale of int4 weights (32)",
    metavar="N",
    default="32",
    choices=("32", "64", "128"),
)
GRAPH = ("network.py", "ops.py", "functions.py", "loading.py", "weights.py", "description.py")
"""The sources of the compiled graph."""


class LanguageModel(GreedyWorkload):
    """Hold a described decoder with its weights' source, and prompts for it."""

    kind: ClassVar[Kind] = "language"
    unit: ClassVar[str] = "prompt"
    probe: ClassVar[RecordOptions] = RecordOptions(margins=True)
    in_apps: ClassVar[bool] = False
    explained_by: ClassVar[str] = "harness.explain.language:refuse"

    def __init__(
        self,
        source: str,
        name: str,
        config: Mapping[str, Any],
        weights: Mapping[str, Any],
        options: ModelOptions,
        cache: Cache,
    ) -> None:
        self.source, self.name, self.label, self._cache = source, name, name, cache
        self.config, self.weights, self.decoder = config, weights, describe(config)
        self.parameters = self.decoder.parameters
        self.tolerance = max(options.tolerance, LOSSY_TIES[options.precision])
        self.forced = options.precision != "fp32"
        self.tokens = min(MOST_TOKENS, MAX_OUTPUT_LEN.of(options.own))
        self.int4_group = int(INT4_GROUP.of(options.own))
        self.prompts = seeded_prompts(self.decoder, self.tokens)
        if not self.prompts:
            raise UnknownPart(
                f"{name} takes {self.decoder.context} positions, too few for a prompt and {self.tokens} tokens",
                cure="give a smaller --max-output-len",
            )
        longest = max(len(prompt) for prompt in self.prompts.values())
        self.capacity = -(-(longest + self.tokens) // CACHE_BLOCK) * CACHE_BLOCK
        self.weights_sha256 = str(weights["sha256"])
        self.items = [
            WorkItem(
                id=item,
                workload=name,
                input=encode({"prompt": np.array(prompt, np.int32)}),
                label=f"{len(prompt)} tokens",
            )
            for item, prompt in self.prompts.items()
        ]
        self.items_sha256 = hashlib.sha256(json.dumps(self.prompts).encode()).hexdigest()

    def compilable(self, variant: str) -> Compilable:
        here = Path(__file__).parent
        sizes = {"capacity": self.capacity, "block": min(BLOCK, self.capacity)}
        return Compilable(
            name=self.name,
            kind=self.kind,
            prefix=f"{self.name}_",
            functions=FUNCTIONS,
            load="harness.models.language.functions:load",
            request={**self._model, "sizes": sizes, "int4_group": self.int4_group},
            identity={
                "weights": self.weights_sha256,
                "int4_group": self.int4_group,
                "sources": hash_sources([here / name for name in GRAPH], here),
            },
            metadata={**sizes, "new_tokens": self.tokens, "weights_sha256": self.weights_sha256},
            precisions=PRECISIONS,
        )

    @property
    def _model(self) -> dict[str, Any]:
        source = {key: value for key, value in self.weights.items() if key != "sha256"}
        return {"config": dict(self.config), "source": source}

    def spread(self) -> list[int]:
        return spread_order([("", len(prompt)) for prompt in self.prompts.values()])

    def expected(self, progress: Progress) -> Expected[Decoded]:
        """Return transformers' greedy decoding of every prompt, in float32."""
        model = {**self._model, "sha256": self.weights_sha256}
        prompts = list(self.prompts.values())
        found = reference_outputs(model, prompts, self.tokens, cache=self._cache, progress=progress)
        answers = {
            item: Decoded(
                tuple(one.token_ids), as_text(one.token_ids), tuple(one.margins), tuple(one.log_probabilities)
            )
            for item, one in zip(self.prompts, found.items, strict=True)
        }
        return Expected(answers, found.model_dump(exclude={"items"}))

    def compared_items(self, answers: Mapping[str, Decoded]) -> Sequence[WorkItem]:
        """Return the items, in a lossy precision with PyTorch's tokens to be fed.

        Behind the first token that differs a model decodes another text. Fed with PyTorch's, every step is compared.
        """
        if not self.forced:
            return self.items
        return [
            item.model_copy(
                update={
                    "input": encode(
                        {
                            "prompt": np.array(self.prompts[item.id], np.int32),
                            "forced": np.array(answers[item.id].token_ids, np.int32),
                        }
                    )
                }
            )
            for item in self.items
        ]

    def compare(
        self,
        items: Sequence[WorkItem],
        answers: Mapping[str, Decoded],
        probed: Sequence[AnyRecord],
        timed: Sequence[AnyRecord] | None = None,
    ) -> list[ItemParity]:
        if not self.forced or timed is not None:
            return super().compare(items, answers, probed, timed)
        found, broken = decodings(probed), answerless(probed)
        return [
            compare_forced(
                item,
                answers[item.id],
                next(map(self.observed, found.get(item.id, [])), None),
                tolerance=self.tolerance,
                no_answer=broken.get(item.id),
            )
            for item in items
        ]

    def observed(self, decoded: Decoded) -> Decoded:
        return replace(decoded, text=as_text(decoded.token_ids))

    def timed_model(self) -> TimedModel:
        return TimedModel(self.name, "harness.models.language.loading:timed", self._model)

    def timed_item(self, item: WorkItem) -> dict[str, Any]:
        return {"item": item.id, "prompt": self.prompts[item.id], "tokens": self.tokens}


def as_text(token_ids: Sequence[int]) -> str:
    """Return tokens for a person; without a tokenizer these are their numbers."""
    return " ".join(str(token) for token in token_ids)


def seeded_prompts(decoder: Decoder, tokens: int) -> dict[str, list[int]]:
    """Return prompts of token ids by item, as many as fit into the context before so many tokens."""
    drawn = np.random.Generator(np.random.PCG64(SEED))
    found = {f"{length}_tokens": drawn.integers(0, decoder.vocab_size, length).tolist() for length in PROMPTS}
    return {item: prompt for item, prompt in found.items() if len(prompt) + tokens <= decoder.context}


def open_language_models(
    names: Sequence[str], options: ModelOptions, cache: Cache, progress: Progress
) -> list[LanguageModel]:
    """Return the models with seeded weights, and those of folders. Raises UnknownPart and UsageError."""
    found = []
    for name in names:
        if name.startswith(RANDOM):
            found.append(_seeded(name, options, cache))
        else:
            progress(f"looking at {name.removeprefix(FOLDER)}")
            found.append(_stored(name, options, cache))
    return found


def _seeded(source: str, options: ModelOptions, cache: Cache) -> LanguageModel:
    wanted = source.removeprefix(RANDOM)
    if wanted not in CONFIGURATIONS:
        raise UsageError(f"no configuration is named {wanted!r}", cure=f"known are {', '.join(CONFIGURATIONS)}")
    config = CONFIGURATIONS[wanted]
    drawn = {"seed": SEED, "how": hash_file(Path(__file__).with_name("weights.py"))}
    sha256 = hashlib.sha256(json.dumps([dict(config), drawn], sort_keys=True).encode()).hexdigest()
    return LanguageModel(source, identifier(wanted), config, {"seed": SEED, "sha256": sha256}, options, cache)


def _stored(source: str, options: ModelOptions, cache: Cache) -> LanguageModel:
    folder = Path(source.removeprefix(FOLDER)).expanduser()
    files = sorted(folder.glob("*.safetensors"))
    if not files:
        raise UsageError(
            f"{folder} has no *.safetensors", cure="give a model's folder; a pickle may run anything, and is not read"
        )
    config = read_config(folder / "config.json")
    described = json.dumps([config, [[file.name, hash_file(file)] for file in files]], sort_keys=True)
    weights = {"folder": str(folder.resolve()), "sha256": hashlib.sha256(described.encode()).hexdigest()}
    return LanguageModel(source, identifier(folder.resolve().name), config, weights, options, cache)


def identifier(name: str) -> str:
    """Return a name that can begin a symbol."""
    found = re.sub(r"[^A-Za-z0-9_]+", "_", name).strip("_").lower()
    return found if found and not found[0].isdigit() else f"model_{found}"


KIND = WorkloadKind("language", open_language_models, schemes=(RANDOM, FOLDER), options=(MAX_OUTPUT_LEN, INT4_GROUP))
