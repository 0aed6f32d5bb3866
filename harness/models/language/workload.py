"""Define a decoder-only language model as a workload: prompts, and the tokens that follow them."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from harness.core.cache import Cache, hash_file, hash_sources
from harness.core.errors import UsageError
from harness.core.progress import Progress
from harness.measure.sampling import spread_order
from harness.models.generation import MAX_OUTPUT_LEN, GreedyWorkload
from harness.models.kinds import WorkloadKind
from harness.models.language.config_keys import UnknownPart, read_config
from harness.models.language.configurations import CONFIGURATIONS
from harness.models.language.families import describe
from harness.models.language.gguf import Gguf
from harness.models.language.gguf_model import configuration
from harness.models.language.passages import (
    CALIBRATE,
    PASSAGES,
    calibration_windows,
    read_passages,
    text_passages,
)
from harness.models.language.prompts import PROMPTS, SEED, Prompts, seeded_prompts, text_prompts
from harness.models.language.reference import GeneratedItem, reference_outputs
from harness.models.language.shipped import FOLDERS
from harness.models.language.stopping import cut, ended, stop_tokens, until_stop
from harness.models.language.texts import FILE as TOKENIZER
from harness.models.language.texts import Codec
from harness.models.options import ModelOption, ModelOptions
from harness.models.workload import TOKENIZER_SUFFIX, Compilable, Expected, TimedModel
from harness.protocol.schema import PRECISIONS, AnyRecord, Kind, Precision, RecordOptions, Sample, Tensors, WorkItem
from harness.protocol.tensors import encode
from harness.validate import Decoded, ItemParity, answerless, compare_forced, decodings

RANDOM, FOLDER = "random:", "generate:"
"""What begins the names of models with seeded weights, and of folders."""
FUNCTIONS = ("prefill", "step")
MOST_TOKENS = 64
"""The tokens that follow each prompt, unless --max-output-len asks for fewer."""
BLOCK = 128
"""The rows of a prompt that one call of the prefill takes at most."""
CACHE_BLOCK = 16
"""Caches contain whole blocks of this many positions, so that every instruction set's vectors divide them."""
TEXT_BLOCK = 128
"""The same for prompts that are texts. Coarser, so that a model need not be compiled again for most changes of them."""
LOSSY_TIES: Mapping[Precision, float] = {"fp32": 0.0, "fp16": 0.02, "int8": 0.25, "int4": 1.5}
"""The top-2 margin of logits up to which another token of a lossy model is a tie (``docs/generation.md``)."""
INT4_GROUP = ModelOption(
    "--int4-group",
    "inputs that share a scale of int4 weights (32)",
    metavar="N",
    default="32",
    choices=("32", "64", "128"),
    commands=("suites", "compile", "xcframework", "package"),
)
CONTEXT = ModelOption(
    "--context-tokens",
    "positions of language models' caches, for longer texts in an app (default: what the prompts need)",
    metavar="N",
    value=int,
    limits=(1, 1 << 20),
    commands=("suites", "compile", "xcframework", "package"),
)
GRAPH = (
    *("network.py", "ops.py", "rotary.py", "functions.py", "loading.py", "calibration.py"),
    *("weights.py", "gguf.py", "gguf_model.py", "families.py", "config_keys.py", "description.py"),
)
"""The sources of the compiled graph."""


@dataclass(frozen=True)
class Generated(Decoded):
    """Hold PyTorch's answer with what is known of the distributions from which its tokens come."""

    distributions: GeneratedItem = field(compare=False, kw_only=True)


class LanguageModel(GreedyWorkload):
    """Hold a described decoder with its weights' source, and prompts for it."""

    kind: ClassVar[Kind] = "language"
    unit: ClassVar[str] = "prompt"
    probe: ClassVar[RecordOptions] = RecordOptions(margins=True)
    explained_by: ClassVar[str] = "harness.explain.language:refuse"

    def __init__(
        self,
        source: str,
        name: str,
        config: Mapping[str, Any],
        weights: Mapping[str, Any],
        options: ModelOptions,
        cache: Cache,
        stops: Sequence[int] = (),
        codec: Codec | None = None,
    ) -> None:
        self.source, self.name, self.label, self._cache = source, name, name, cache
        self.stops, self.codec = tuple(stops), codec
        self.config, self.weights, self.decoder = config, weights, describe(config)
        self.parameters = self.decoder.parameters
        self.tolerance = max(options.tolerance, LOSSY_TIES[options.precision])
        self.tokens = min(MOST_TOKENS, MAX_OUTPUT_LEN.of(options.own))
        self.int4_group = int(INT4_GROUP.of(options.own))
        self.calibration = self._calibration(CALIBRATE.of(options.own), options.precision)
        prompts = self._prompts(PROMPTS.of(options.own), PASSAGES.of(options.own))
        self.prompts, self.following, self.items_source = prompts.tokens, prompts.following, prompts.source
        self.forced = bool(self.following) or options.precision != "fp32"
        if not self.prompts:
            raise UnknownPart(
                f"{name} takes {self.decoder.context} positions, too few for a prompt and {self.tokens} tokens",
                cure="give a smaller --max-output-len",
            )
        block = CACHE_BLOCK if codec is None else TEXT_BLOCK
        context = CONTEXT.of(options.own) or 0
        if context > self.decoder.context:
            raise UsageError(
                f"{name} takes {self.decoder.context} positions, and --context-tokens is {context}",
                cure="give a smaller --context-tokens",
            )
        self.capacity = -(-max(prompts.room + self.tokens, context) // block) * block
        self.weights_sha256 = str(weights["sha256"])
        # Times are of as many tokens on both sides and in all runs, whatever the tokens are.
        exactly = {"exactly": [self.tokens]} if self.stops and not self.following else {}
        self.items = [
            WorkItem(
                id=item,
                workload=name,
                input=_tensors(prompt=prompt, **exactly, **self._fed(item)),
                label=prompts.labels[item],
            )
            for item, prompt in self.prompts.items()
        ]
        known = [self.prompts, self.following] if self.following else self.prompts
        self.items_sha256 = hashlib.sha256(json.dumps(known).encode()).hexdigest()

    def _calibration(self, wanted: str | None, precision: Precision) -> list[list[int]]:
        """Return the windows of the text by which int4 weights are rounded; empty without one."""
        if wanted is None:
            return []
        if precision != "int4":
            raise UsageError(f"--calibrate is for int4, not for {precision}", cure="leave it out, or ask for int4")
        if self.codec is None:
            raise UsageError(f"{self.source} has no {TOKENIZER}, so {wanted} cannot become tokens", cure="leave it out")
        return calibration_windows(self.codec, self.decoder, wanted)

    def _prompts(self, path: Path | None, passages: str | None) -> Prompts:
        if path is not None and passages is not None:
            raise UsageError("--prompts and --passages both choose the items", cure="give one of them")
        if self.codec is not None and passages is not None:
            return text_passages(self.codec, self.decoder, self.tokens, *read_passages(passages))
        if self.codec is not None:
            return text_prompts(self.codec, self.decoder, self.tokens, path)
        if path is not None or passages is not None:
            raise UsageError(
                f"{self.source} has no {TOKENIZER}, so {path or passages} cannot become tokens",
                cure=f"copy {TOKENIZER} into the model's folder, or leave the option out",
            )
        return seeded_prompts(self.decoder, self.tokens)

    def _fed(self, item: str) -> dict[str, Any]:
        """Return the tensor of the tokens that follow an item's prompt, if they are known."""
        return {"forced": self.following[item]} if self.following else {}

    def compilable(self, variant: str) -> Compilable:
        here = Path(__file__).parent
        sizes = {"capacity": self.capacity, "block": min(BLOCK, self.capacity)}
        return Compilable(
            name=self.name,
            kind=self.kind,
            prefix=f"{self.name}_",
            functions=FUNCTIONS,
            load="harness.models.language.functions:load",
            request={**self._model, "sizes": sizes, "int4_group": self.int4_group, "calibration": self.calibration},
            identity={
                "weights": self.weights_sha256,
                "int4_group": self.int4_group,
                "calibration": hashlib.sha256(json.dumps(self.calibration).encode()).hexdigest(),
                "sources": hash_sources([here / name for name in GRAPH], here),
            },
            files={} if self.codec is None else {f"{self.name}{TOKENIZER_SUFFIX}": self.codec.path},
            metadata={
                **sizes,
                "new_tokens": self.tokens,
                "weights_sha256": self.weights_sha256,
                **({"stop_tokens": list(self.stops)} if self.stops else {}),
                # An app uses all positions that the model knows, and the cache may have some more.
                **({"context": self.decoder.context} if self.decoder.context < self.capacity else {}),
                **({} if self.codec is None else {"tokenizer_sha256": hash_file(self.codec.path)}),
            },
            precisions=PRECISIONS,
        )

    @property
    def _model(self) -> dict[str, Any]:
        source = {key: value for key, value in self.weights.items() if key != "sha256"}
        return {"config": dict(self.config), "source": source}

    def spread(self) -> list[int]:
        return spread_order([("", len(prompt)) for prompt in self.prompts.values()])

    def expected(self, progress: Progress) -> Expected[Decoded]:
        """Return transformers' greedy decoding of every prompt, in float32, or its choices after a passage's tokens."""
        model = {**self._model, "sha256": self.weights_sha256}
        prompts, following = list(self.prompts.values()), list(self.following.values())
        found = reference_outputs(
            model, prompts, self.tokens, self.stops, following, cache=self._cache, progress=progress
        )
        answers = {
            item: Generated(
                tuple(one.token_ids),
                self.text(one.token_ids),
                tuple(one.margins),
                tuple(one.log_probabilities),
                None if self.following else ended(one.token_ids, self.stops),
                distributions=one,
            )
            for item, one in zip(self.prompts, found.items, strict=True)
        }
        return Expected(answers, found.model_dump(exclude={"items"}))

    def compared_items(self, answers: Mapping[str, Decoded]) -> Sequence[WorkItem]:
        """Return the items whose generations end by themselves, in a lossy precision with PyTorch's tokens to be fed.

        Behind the first token that differs a model decodes another text. Fed with PyTorch's, every step is compared.
        In a passage its own tokens are fed.
        """

        def given(item: str) -> Tensors:
            answer, more = answers[item], dict[str, Any]()
            if self.forced:
                more |= self._fed(item) or {"forced": answer.token_ids}
            if self.forced and isinstance(answer, Generated) and answer.distributions.top_tokens:
                more |= {"top_tokens": answer.distributions.top_tokens}
                more |= {"top_logarithms": np.array(answer.distributions.top_logarithms, np.float32)}
            return _tensors(prompt=self.prompts[item], **more)

        return [item.model_copy(update={"input": given(item.id)}) for item in self.items]

    def compare(
        self,
        items: Sequence[WorkItem],
        answers: Mapping[str, Decoded],
        probed: Sequence[AnyRecord],
        timed: Sequence[AnyRecord] | None = None,
    ) -> list[ItemParity]:
        if timed is not None and not self.following:
            return super().compare(items, answers, (), self._ended_by_themselves(timed))
        if not self.forced:
            return super().compare(items, answers, probed)
        records = probed if timed is None else timed
        found, broken = decodings(records), answerless(records)
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

    def _ended_by_themselves(self, records: Sequence[AnyRecord]) -> list[AnyRecord]:
        """Return records of timed passes, which ran on, with answers as their first stop token would end them."""
        return [
            record.model_copy(update={"outputs": [cut(one, self.stops) for one in record.outputs]})
            if isinstance(record, Sample) and self.stops
            else record
            for record in records
        ]

    def observed(self, decoded: Decoded) -> Decoded:
        return replace(decoded, text=self.text(decoded.token_ids))

    def text(self, token_ids: Sequence[int]) -> str:
        """Return tokens for a person; without a tokenizer these are their numbers."""
        return as_text(token_ids) if self.codec is None else self.codec.decode(token_ids)

    def departure(self, item: WorkItem, expected: Decoded, found: Mapping[str, Any]) -> str | None:
        if self.following:
            # PyTorch is timed with tokens of its own, as many as a passage has.
            return None
        tokens = found["token_ids"][: until_stop(found["token_ids"], self.stops)]
        return super().departure(item, expected, {**found, "token_ids": tokens})

    def timed_model(self) -> TimedModel:
        return TimedModel(self.name, "harness.models.language.loading:timed", self._model)

    def timed_item(self, item: WorkItem) -> dict[str, Any]:
        return {"item": item.id, "prompt": self.prompts[item.id], "tokens": self.tokens}


def _tensors(**given: Any) -> Tensors:
    """Return arrays by name as an order carries them; token ids, in sequences, become int32."""
    return encode(
        {name: one if isinstance(one, np.ndarray) else np.array(one, np.int32) for name, one in given.items()}
    )


def as_text(token_ids: Sequence[int]) -> str:
    """Return tokens as their numbers."""
    return " ".join(str(token) for token in token_ids)


def open_language_models(
    names: Sequence[str], options: ModelOptions, cache: Cache, progress: Progress
) -> list[LanguageModel]:
    """Return the models with seeded weights, shipped ones, and those of folders. Raises UnknownPart and UsageError."""
    found = []
    for name in names:
        if name.startswith(RANDOM):
            found.append(_seeded(name, options, cache))
        else:
            progress(f"looking at {name.removeprefix(FOLDER)}")
            path = FOLDERS.get(name, Path(name.removeprefix(FOLDER)).expanduser())
            found.append((_gguf if path.suffix == ".gguf" else _stored)(name, path, options, cache))
    return found


def _seeded(source: str, options: ModelOptions, cache: Cache) -> LanguageModel:
    wanted = source.removeprefix(RANDOM)
    if wanted not in CONFIGURATIONS:
        raise UsageError(f"no configuration is named {wanted!r}", cure=f"known are {', '.join(CONFIGURATIONS)}")
    config = CONFIGURATIONS[wanted]
    drawn = {"seed": SEED, "how": hash_file(Path(__file__).with_name("weights.py"))}
    sha256 = hashlib.sha256(json.dumps([dict(config), drawn], sort_keys=True).encode()).hexdigest()
    return LanguageModel(source, identifier(wanted), config, {"seed": SEED, "sha256": sha256}, options, cache)


def _stored(source: str, folder: Path, options: ModelOptions, cache: Cache) -> LanguageModel:
    files = sorted(folder.glob("*.safetensors"))
    if not files:
        raise UsageError(
            f"{folder} has no *.safetensors", cure="give a model's folder; a pickle may run anything, and is not read"
        )
    config = read_config(folder / "config.json")
    described = json.dumps([config, [[file.name, hash_file(file)] for file in files]], sort_keys=True)
    weights = {"folder": str(folder.resolve()), "sha256": hashlib.sha256(described.encode()).hexdigest()}
    return _with_texts(source, folder.resolve().name, folder, config, weights, options, cache)


def _gguf(source: str, path: Path, options: ModelOptions, cache: Cache) -> LanguageModel:
    if not path.is_file():
        raise UsageError(f"there is no file {path}", cure="give a GGUF file, or a model's folder")
    config = configuration(Gguf(path))
    weights = {"gguf": str(path.resolve()), "sha256": hash_file(path)}
    return _with_texts(source, path.stem, path.parent, config, weights, options, cache)


def _with_texts(
    source: str,
    name: str,
    folder: Path,
    config: Mapping[str, Any],
    weights: Mapping[str, Any],
    options: ModelOptions,
    cache: Cache,
) -> LanguageModel:
    """Return a model with the stop tokens and the tokenizer of the folder in which it is."""
    vocab_size = describe(config).vocab_size
    stops, tokenizer = stop_tokens(folder, config, vocab_size), folder / TOKENIZER
    codec = Codec(tokenizer, vocab_size) if tokenizer.exists() else None
    return LanguageModel(source, identifier(name), config, weights, options, cache, stops, codec)


def identifier(name: str) -> str:
    """Return a name that can begin a symbol."""
    found = re.sub(r"[^A-Za-z0-9_]+", "_", name).strip("_").lower()
    return found if found and not found[0].isdigit() else f"model_{found}"


KIND = WorkloadKind(
    "language",
    open_language_models,
    names=tuple(FOLDERS),
    schemes=(RANDOM, FOLDER),
    options=(MAX_OUTPUT_LEN, PROMPTS, PASSAGES, INT4_GROUP, CALIBRATE, CONTEXT),
)
