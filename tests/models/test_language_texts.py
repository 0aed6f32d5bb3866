"""Prompts as texts: the model's own tokenizer, special tokens, characters over several tokens, and files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers

from harness.core.cache import Cache, hash_file
from harness.core.errors import UsageError
from harness.models.kinds import open_workloads
from harness.models.language.config_keys import UnknownPart
from harness.models.language.prompts import SHIPPED, read_prompts
from harness.models.language.texts import BadTokenizer, Codec
from harness.models.language.workload import LanguageModel
from harness.models.options import ModelOptions
from harness.protocol.schema import Probe
from harness.protocol.tensors import decode
from harness.validate import Decoded, Verdict
from tests.models import tokenizer_vectors
from tests.models.test_language_workload import folder, quiet

BOS, EOS = "<s>", "</s>"
SPECIAL = f"A user writes {EOS} and {BOS} and goes on."
EMOJI = "Swifts 🐦 sleep."


def train(path: Path, size: int = 400, *, vocabulary: str = "bpe", bos: bool = True) -> Path:
    """Train a small tokenizer on the shipped prompts, as models of the Llama or the GPT-2 kind have one."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=size, special_tokens=[BOS, EOS], initial_alphabet=alphabet)
    tokenizer.train_from_iterator(SHIPPED, trainer)
    if bos:
        put = processors.TemplateProcessing(single=f"{BOS} $A", special_tokens=[(BOS, tokenizer.token_to_id(BOS))])
        tokenizer.post_processor = put
    tokenizer.save(str(path))
    return path


def byte_fallback(path: Path) -> Path:
    """A tokenizer of SentencePiece's kind: characters that it does not know become tokens of bytes."""
    letters = [*sorted(set("".join(SHIPPED)) - {" "}), "▁"]
    pieces = [("<unk>", 0.0), *((f"<0x{byte:02X}>", -20.0) for byte in range(256)), *((one, -5.0) for one in letters)]
    tokenizer = Tokenizer(models.Unigram(pieces, unk_id=0, byte_fallback=True))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()])
    tokenizer.save(str(path))
    return path


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return train(tmp_path_factory.mktemp("tokenizer") / "tokenizer.json")


@pytest.fixture
def codec(file: Path) -> Codec:
    return Codec(file, 400)


@pytest.fixture
def model_folder(file: Path, tmp_path: Path) -> Path:
    made = folder(tmp_path / "Texts", vocab_size=400, max_position_embeddings=1024, eos_token_id=1)
    (made / "tokenizer.json").write_bytes(file.read_bytes())
    return made


def opened(cache: Cache, source: str | Path, prompts: Path | None = None) -> LanguageModel:
    own = {} if prompts is None else {"prompts": str(prompts)}
    name = source if isinstance(source, str) else f"generate:{source}"
    [found] = open_workloads(ModelOptions(models=(name,), own=own), cache=cache, progress=quiet)
    assert isinstance(found, LanguageModel)
    return found


@pytest.mark.parametrize("text", [*SHIPPED, "", " two  spaces\tand a tab ", "Grüße, 你好, 🐦!", "\x00\x1b[31m"])
def test_a_text_comes_back_as_it_was(codec: Codec, text: str) -> None:
    ids = codec.encode(text)
    assert ids[0] == 0, "the tokenizer's own first token"
    assert codec.decode(ids[1:]) == text


def test_the_vectors_of_rust_are_those_of_today() -> None:
    """rust/language/tests/test_tokenizer.rs reads the file."""
    assert tokenizer_vectors.PATH.read_text(encoding="utf-8") == tokenizer_vectors.text()


def test_special_tokens_in_a_users_text_are_text(codec: Codec) -> None:
    ids = codec.encode(SPECIAL)
    assert ids[0] == 0
    assert not {0, 1} & set(ids[1:])
    assert codec.decode(ids[1:]) == SPECIAL
    # A token of a model's answer is control, and is shown by its name.
    assert codec.decode([*codec.encode("and")[1:], 1]) == f"and{EOS}"


@pytest.mark.programs
@pytest.mark.parametrize("text", [*SHIPPED, SPECIAL, EMOJI, "", "Grüße"])
def test_tokens_are_those_of_transformers(file: Path, codec: Codec, text: str) -> None:
    """Of its fast tokenizer, where it is told that a text's special tokens are none."""
    from transformers import PreTrainedTokenizerFast

    theirs = PreTrainedTokenizerFast(tokenizer_file=str(file), bos_token=BOS, eos_token=EOS)
    assert codec.encode(text) == theirs(text, split_special_tokens=True)["input_ids"]
    assert codec.decode(codec.encode(text)) == theirs.decode(codec.encode(text), clean_up_tokenization_spaces=False)


@pytest.mark.parametrize("kind", ["bytes", "fallback"])
def test_a_character_over_several_tokens_is_whole_or_replaced(kind: str, file: Path, tmp_path: Path) -> None:
    path = file if kind == "bytes" else byte_fallback(tmp_path / "fallback.json")
    codec = Codec(path, 1000)
    ids = codec.encode(EMOJI)
    text = codec.decode(ids).removeprefix(BOS).strip()
    assert text == EMOJI
    cut = [codec.decode(ids[:end]).removeprefix(BOS) for end in range(1, len(ids))]
    broken = [one for one in cut if "\N{REPLACEMENT CHARACTER}" in one]
    assert len(broken) >= 2, "ends within the bird's four bytes"
    assert all(one.rstrip("\N{REPLACEMENT CHARACTER}").strip() in ("Swifts", "") for one in broken)
    # Bytes that no text has, one after the other, as a model with random weights gives them.
    lonely = codec.decode([*ids[-1:], *[one for one in ids if one not in (0, 1)][::-1]])
    lonely.encode("utf-8")


def test_a_tokenizer_of_another_model_is_refused(cache: Cache, file: Path, tmp_path: Path) -> None:
    made = folder(tmp_path / "small", vocab_size=300)
    (made / "tokenizer.json").write_bytes(file.read_bytes())
    with pytest.raises(BadTokenizer, match=r"has the token 399 \(.*\), and the model's vocabulary has 300"):
        opened(cache, made)
    assert Codec(file, 5000).decode([4999]) == "", "a token that pads the vocabulary has no text"


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "is no tokenizer"),
        (b"{}", "is no tokenizer"),
        (b'{"model": {"type": "BPE", "vocab": {}, "merges": []}}', "has no tokens"),
        (b"\xff\xfe", "is no tokenizer"),
        (None, "cannot be read"),
    ],
)
def test_a_file_that_is_no_tokenizer_is_refused(content: bytes | None, reason: str, tmp_path: Path) -> None:
    path = tmp_path / "tokenizer.json"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(BadTokenizer, match=reason):
        Codec(path, 400)


def test_truncation_and_padding_of_the_file_are_not_for_prompts(file: Path, tmp_path: Path) -> None:
    asked = Tokenizer.from_file(str(file))
    asked.enable_truncation(4)
    asked.enable_padding(length=300)
    asked.save(str(tmp_path / "tokenizer.json"))
    assert Codec(tmp_path / "tokenizer.json", 400).encode(SHIPPED[1]) == Codec(file, 400).encode(SHIPPED[1])


def test_a_folder_with_a_tokenizer_has_prompts_in_english(cache: Cache, model_folder: Path, codec: Codec) -> None:
    model = opened(cache, model_folder)
    assert next(iter(model.prompts)) == "the_three_largest_cities_of"
    assert [codec.decode(ids[1:]) for ids in model.prompts.values()] == list(SHIPPED)
    assert model.items[0].label == "The three largest cities of the country…"[:41]
    assert (model.items_source, model.stops) == ("shipped", (1,))
    assert model.capacity % 128 == 0
    compiled = model.compilable("")
    assert compiled.files == {"texts.tokenizer.json": model_folder / "tokenizer.json"}
    assert compiled.metadata["tokenizer_sha256"] == hash_file(model_folder / "tokenizer.json")
    assert decode(model.items[0].input)["prompt"].tolist() == codec.encode(SHIPPED[0])  # type: ignore[arg-type]
    assert decode(model.items[0].input)["exactly"].tolist() == [64]  # type: ignore[arg-type]


def test_a_file_of_prompts(cache: Cache, model_folder: Path, codec: Codec, tmp_path: Path) -> None:
    file = tmp_path / "mine.txt"
    file.write_text("The first one\n\n  The first one\n🐦\n", encoding="utf-8")
    model = opened(cache, model_folder, file)
    assert list(model.prompts) == ["the_first_one", "the_first_one_2", "prompt_3"]
    assert model.prompts["the_first_one_2"] == codec.encode("  The first one")
    assert [item.label for item in model.items] == ["The first one", "The first one", "🐦"]
    assert model.items_source == "mine.txt"
    # It has room for the shipped prompts all the same.
    assert model.capacity == opened(cache, model_folder).capacity
    (tmp_path / "mine.json").write_text(json.dumps(["of two\nlines"]), encoding="utf-8")
    assert opened(cache, model_folder, tmp_path / "mine.json").items[0].label == "of two lines"


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("a.txt", b"", "has 0 prompts"),
        ("a.txt", b"\n\n", "has 0 prompts"),
        ("a.txt", b"\xff", "holds no prompts"),
        ("a.json", b"{}", "is no list of texts"),
        ("a.json", b'["a", 1]', "is no list of texts"),
        ("a.json", b"[", "holds no prompts"),
        ("a.json", b'["\\ud800"]', "lone surrogate"),
        ("a.txt", b"x\n" * 1001, "has 1001 prompts"),
    ],
)
def test_a_file_that_holds_no_prompts_is_refused(name: str, content: bytes, reason: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UsageError, match=reason):
        read_prompts(tmp_path / name)
    with pytest.raises(UsageError, match="cannot be read"):
        read_prompts(tmp_path / "nowhere.txt")


def test_prompts_that_do_not_fit_are_refused_with_their_name(cache: Cache, model_folder: Path, tmp_path: Path) -> None:
    file = tmp_path / "long.txt"
    file.write_text("short\n" + "long " * 1000 + "\n", encoding="utf-8")
    with pytest.raises(
        UsageError, match=r"the prompt 'long_long_long_long_long' of .* has .* tokens, and with 64 after"
    ):
        opened(cache, model_folder, file)


def test_prompts_need_a_tokenizer(cache: Cache, tmp_path: Path) -> None:
    file = tmp_path / "mine.txt"
    file.write_text("a\n", encoding="utf-8")
    for source in ("random:tiny-llama", folder(tmp_path / "plain")):
        with pytest.raises(UsageError, match=r"has no tokenizer\.json, so .*mine\.txt cannot become tokens"):
            opened(cache, source, file)


def test_a_context_too_short_for_the_shipped_prompts_has_fewer(cache: Cache, file: Path, tmp_path: Path) -> None:
    for positions, count in ((100, 1), (70, 0)):
        made = folder(tmp_path / f"short{positions}", vocab_size=400, max_position_embeddings=positions)
        (made / "tokenizer.json").write_bytes(file.read_bytes())
        if count:
            assert len(opened(cache, made).prompts) == count
        else:
            with pytest.raises(UnknownPart, match="too few for a prompt"):
                opened(cache, made)


def test_answers_are_texts(cache: Cache, model_folder: Path, codec: Codec) -> None:
    """The runner's tokens become text here, with the stop token by its name."""
    model = opened(cache, model_folder)
    item = model.items[0]
    tokens = [*codec.encode(" are Paris")[1:], 1]
    expected = Decoded(tuple(tokens), model.text(tokens), (1.0,) * len(tokens), None, "stop_token")
    output: dict[str, Any] = {"token_ids": tokens, "text": "", "margins": [1.0] * len(tokens), "ended": "stop_token"}
    record = {"record": "probe", "workload": model.name, "items": [item.id], "outputs": [output]}
    [line] = model.compare([item], {item.id: expected}, [Probe.model_validate(record)])
    assert (line.verdict, line.got, line.ended) == (Verdict.EQUAL, f" are Paris{EOS}", "stop_token")
    assert model.stored(item, expected)["text"] == f" are Paris{EOS}"
