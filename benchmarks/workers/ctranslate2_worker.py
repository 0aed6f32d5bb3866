"""CTranslate2, greedy: ``python -m benchmarks.workers.ctranslate2_worker``."""

from __future__ import annotations

import importlib
import json
from pathlib import Path
from typing import Any

from benchmarks.workers.serving import encode, serve

VOCABULARY = "shared_vocabulary.json"
"""The converter's list of tokens, by id."""


class TranslatorEngine:
    """CTranslate2 takes and gives tokens as strings; both directions are a look-up in the model's vocabulary."""

    def __init__(self, request: dict[str, Any]) -> None:
        ctranslate2: Any = importlib.import_module("ctranslate2")  # not installed where types are checked
        folder = Path(request["model"])
        self.tokens: list[str] = json.loads((folder / VOCABULARY).read_text(encoding="utf-8"))
        self.ids = {token: index for index, token in enumerate(self.tokens)}
        assert len(self.ids) == len(self.tokens), "two ids of the vocabulary have one name"
        self.translator = ctranslate2.Translator(
            str(folder),
            device="cpu",
            compute_type=request["compute_type"],
            inter_threads=1,
            intra_threads=request["threads"],
        )
        forced = request["forced_tokens"]
        self.options: dict[str, Any] = {"beam_size": 1, "max_decoding_length": request["max_tokens"]}
        if forced is not None:
            self.options |= {"max_decoding_length": forced, "min_decoding_length": forced}
        self.facts = {"ctranslate2": ctranslate2.__version__, "compute type": self.translator.compute_type}

    def run(self, texts: list[str]) -> list[list[int]]:
        batch = [[self.tokens[token] for token in encode(text)] for text in texts]
        results = self.translator.translate_batch(batch, return_end_token=True, **self.options)
        return [[self.ids[token] for token in result.hypotheses[0]] for result in results]


if __name__ == "__main__":
    serve(TranslatorEngine)
