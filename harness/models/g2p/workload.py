"""Define G2P as a workload: CharsiuG2P's ByT5, which turns a word of a language into its pronunciation."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

from harness.core.cache import Cache, hash_sources
from harness.core.errors import HarnessError
from harness.core.progress import Progress
from harness.measure.sampling import spread_order
from harness.models.g2p.checkpoints import EMBEDDED, WEIGHT_FILES, Checkpoint, resolve_checkpoint
from harness.models.g2p.items import WORKLOAD, word_item
from harness.models.g2p.options import OPTIONS, G2POptions
from harness.models.g2p.reference import Reference, ReferenceOptions, reference_outputs
from harness.models.g2p.word_list import DEFAULT_WORDS, Word, check_words, read_words
from harness.models.generation import FUNCTIONS, GenerationWorkload
from harness.models.kinds import WorkloadKind
from harness.models.options import ModelOptions
from harness.models.workload import Compilable, Expected, TimedModel
from harness.protocol.schema import WorkItem
from harness.validate import Decoded

DEFAULT_OPTIONS = G2POptions.of(ModelOptions())
GRAPH = ("network.py", "ops.py", "functions.py", "loading.py", "words/default.tsv")
"""The sources of the compiled graph, and the words from which int8 weights are rounded."""


def spread_words(words: Sequence[Word]) -> list[int]:
    """Return the words' numbers in such an order that every prefix is spread over languages and lengths."""
    return spread_order([(word.language, len(word.word.encode())) for word in words])


class G2P(GenerationWorkload):
    """Hold a checkpoint with the words that it runs on."""

    unit: ClassVar[str] = "word"
    name = source = WORKLOAD

    def __init__(self, checkpoint: Checkpoint, options: ModelOptions, words: Sequence[Word], cache: Cache) -> None:
        self.checkpoint, self.words, self._cache = checkpoint, words, cache
        self.own = G2POptions.of(options)
        self.label, self.weights_sha256 = checkpoint.label, checkpoint.sha256
        self.tolerance, self.batch_size = options.tolerance, self.own.batch_size
        self.items_source = "shipped" if self.own.words is None else self.own.words.name
        self.items = [self.item(f"w{at:05d}", word.language, word.word) for at, word in enumerate(words)]
        self._gold = {item.id: word.pronunciations for item, word in zip(self.items, words, strict=True)}
        digest = hashlib.sha256()
        for word in words:
            digest.update("\t".join([word.language, word.word, *word.pronunciations]).encode() + b"\n")
        self.items_sha256 = digest.hexdigest()

    @classmethod
    def opened(cls, checkpoint: Checkpoint, options: ModelOptions, cache: Cache) -> G2P:
        """Return a checkpoint with the words that the options name. Raises BadWords."""
        own = G2POptions.of(options)
        words = read_words(own.words or DEFAULT_WORDS, own.language)
        chosen = words
        if options.item_sample is not None:
            chosen = [words[at] for at in sorted(spread_words(words)[: options.item_sample])]
        found = cls(checkpoint, options, chosen, cache)
        found.items_of = len(words) if len(words) > len(chosen) else None
        return found

    def check(self) -> None:
        """Raise BadWords for the first word that the model cannot take."""
        most = self.own.max_input_bytes
        check_words(list(self.words), languages=self.checkpoint.languages, max_input_bytes=most)

    def item(self, name: str, subset: str, label: str) -> WorkItem:
        return word_item(name, subset, label, space=self.own.prompt_space)

    def weight_files(self) -> Sequence[Path]:
        folder = self.checkpoint.folder
        found = [folder / name for name in WEIGHT_FILES if (folder / name).is_file()]
        return () if self.label == EMBEDDED else (folder / "config.json", *found[:1])

    def spread(self) -> list[int]:
        return spread_words(self.words)

    def compilable(self, variant: str) -> Compilable:
        return g2p_compilable(self.checkpoint, self.own, kv_cache=variant == "cache")

    def expected(self, progress: Progress) -> Expected[Decoded]:
        """Return transformers' greedy decoding of every word."""
        found = self._reference(progress)
        asked = [(word.language, word.word) for word in self.words]
        if [(item.language, item.word) for item in found.items] != asked:
            raise HarnessError("the reference is of other words than were asked for", cure="run `harness cache clear`")
        answers = {
            item.id: Decoded(tuple(one.token_ids), one.text, tuple(one.margins))
            for item, one in zip(self.items, found.items, strict=True)
        }
        return Expected(answers, found.model_dump(exclude={"items"}))

    def stored(self, item: WorkItem, answer: Decoded) -> dict[str, Any]:
        """Return the answer with the word's gold pronunciations."""
        return {**super().stored(item, answer), "pronunciations": list(self._gold[item.id])}

    def timed_model(self) -> TimedModel:
        request = {"checkpoint": str(self.checkpoint.folder)}
        return TimedModel(self.name, "harness.models.g2p.loading:timed", request)

    def timed_item(self, item: WorkItem) -> dict[str, Any]:
        return {
            "item": item.id,
            "language": item.subset,
            "word": item.label,
            "prompt_space": self.own.prompt_space,
            "max_output_len": self.own.max_output_len,
        }

    def _reference(self, progress: Progress) -> Reference:
        options = ReferenceOptions(max_output_len=self.own.max_output_len, prompt_space=self.own.prompt_space)
        return reference_outputs(self.checkpoint, list(self.words), options, cache=self._cache, progress=progress)


def g2p_compilable(
    checkpoint: Checkpoint, options: G2POptions = DEFAULT_OPTIONS, *, kv_cache: bool = True
) -> Compilable:
    """Return what the compiler takes of a checkpoint, for the sizes and the prefix of the options."""
    sizes = {
        "batch_size": options.batch_size,
        "max_input_bytes": options.max_input_bytes,
        "max_output_len": options.max_output_len,
    }
    here = Path(__file__).parent
    return Compilable(
        name=WORKLOAD,
        kind=G2P.kind,
        prefix=options.prefix,
        functions=FUNCTIONS["cache" if kv_cache else "cacheless"],
        load="harness.models.g2p.functions:load",
        request={"checkpoint": str(checkpoint.folder), "kv_cache": kv_cache, "shapes": sizes},
        identity={"checkpoint": checkpoint.sha256, "sources": hash_sources([here / name for name in GRAPH], here)},
        metadata={
            **sizes,
            "checkpoint": checkpoint.label,
            "checkpoint_sha256": checkpoint.sha256,
            "languages": None if checkpoint.languages is None else list(checkpoint.languages),
            "prompt_space": options.prompt_space,
            "use_kv_cache": kv_cache,
        },
    )


def open_g2p(_names: Sequence[str], options: ModelOptions, cache: Cache, _progress: Progress) -> list[G2P]:
    """Return the checkpoint with the words that the options name. Raises CheckpointUnavailable and UsageError."""
    return [G2P.opened(resolve_checkpoint(G2POptions.of(options).checkpoint, cache=cache), options, cache)]


KIND = WorkloadKind("g2p", open_g2p, names=(WORKLOAD,), options=OPTIONS)
