"""Tokenizers of three kinds with texts, tokens and answers, by which Rust's tokenizers are held to Python's.

python -m tests.models.tokenizer_vectors    # writes tests/vectors/tokenizers.json
"""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

from harness.models.language.prompts import SHIPPED
from harness.models.language.texts import Codec

PATH = Path(__file__).parents[1] / "vectors/tokenizers.json"
SPECIAL = ("<s>", "</s>")
LLAMA = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+"
    r"|\s+(?!\S)|\s+"
)
"""How Llama 3 splits a text into words, as its published ``tokenizer.json`` has it: with a look ahead."""
TEXTS = (
    SHIPPED[0],
    "",
    " two  spaces\tand a tab \n\n  and lines",
    "Grüße, 你好, 🐦!",
    "A user writes </s> and <s> and goes on.",
    "I'll say: it's 123456 o'clock...   ",
    "\x00\x1b[31m é é",
)


def byte_level(*, split: bool) -> Tokenizer:
    """A tokenizer of GPT-2's kind, or with ``split`` of Llama 3's."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    if split:
        tokenizer.normalizer = normalizers.NFC()
        words = pre_tokenizers.Split(Regex(LLAMA), behavior="isolated")
        level = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
        tokenizer.pre_tokenizer = pre_tokenizers.Sequence([words, level])
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    trainer = trainers.BpeTrainer(vocab_size=300, special_tokens=list(SPECIAL), initial_alphabet=alphabet)
    tokenizer.train_from_iterator(SHIPPED, trainer)
    put = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 0)])
    tokenizer.post_processor = put
    return tokenizer


def fallback() -> Tokenizer:
    """A tokenizer of SentencePiece's kind, with tokens for the bytes of characters that it does not know."""
    letters = [*sorted(set("".join(SHIPPED)) - {" "}), "▁"]
    pieces = [("<unk>", 0.0), *((f"<0x{byte:02X}>", -20.0) for byte in range(256)), *((one, -5.0) for one in letters)]
    tokenizer = Tokenizer(models.Unigram(pieces, unk_id=0, byte_fallback=True))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    strip = decoders.Strip(" ", 1, 0)
    parts = [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), strip]
    tokenizer.decoder = decoders.Sequence(parts)
    tokenizer.add_special_tokens(list(SPECIAL))
    return tokenizer


def case(codec: Codec, tokenizer: Tokenizer, text: str) -> dict[str, Any]:
    """Return a text with its tokens alone, with those around it, and with what they are decoded to."""
    tokenizer.encode_special_tokens = True
    alone = list(tokenizer.encode(text, add_special_tokens=False).ids)
    return {"text": text, "around": codec.encode(text), "alone": alone, "decoded": codec.decode(alone)}


def vectors() -> list[dict[str, Any]]:
    """Return the content of the file."""
    drawn = np.random.Generator(np.random.PCG64(0))
    kinds = {"gpt2": byte_level(split=False), "llama": byte_level(split=True), "fallback": fallback()}
    found = []
    for name, tokenizer in kinds.items():
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "tokenizer.json"
            tokenizer.save(str(path), pretty=False)
            codec, size = Codec(path, 1000), tokenizer.get_vocab_size()
            content = path.read_text(encoding="utf-8")
            # Tokens as a model with random weights gives them: bytes that are no text, and one that there is not.
            answers = [drawn.integers(0, size + 1, 30).tolist() for _ in range(6)]
            decoded = [{"tokens": tokens, "text": codec.decode(tokens)} for tokens in answers]
            cases = [case(codec, tokenizer, text) for text in TEXTS]
        found.append({"kind": name, "content": content, "cases": cases, "answers": decoded})
    return found


def text() -> str:
    return json.dumps(vectors(), ensure_ascii=True, indent=1) + "\n"


if __name__ == "__main__":
    PATH.write_text(text(), encoding="utf-8")
