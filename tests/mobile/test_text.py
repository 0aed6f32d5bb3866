"""A language model with a tokenizer in a package: its text is that of transformers and of Python's tokenizers."""

from __future__ import annotations

import json
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

from harness.core.cache import Cache
from harness.models.language.prompts import SHIPPED
from harness.models.language.texts import Codec
from harness.models.language.workload import LanguageModel, open_language_models
from harness.models.options import ModelOptions
from harness.native.apps.manifest import read_manifest
from tests.mobile.conftest import harness, quiet
from tests.models.language_folder import save_folder
from tests.models.test_language_texts import train

pytestmark = [pytest.mark.compiler, pytest.mark.thorough]
LENGTH, STOP_TOKEN, STOP_STRING = 0, 1, 2


@dataclass(frozen=True)
class Packaged:
    """Hold a model, its package, and the program of texts.c."""

    model: LanguageModel
    package: Path
    program: Path

    def run(self, prompt: str, most: int, stop: str = "") -> Answer:
        command = [str(self.program), self.model.name, prompt, str(most), stop]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
        assert done.returncode == 0, done.stderr
        pieces, _, rest = done.stdout.partition("=")
        tokens, ended, second = rest.splitlines()
        why, before = map(int, ended.split())
        return Answer(
            [bytes.fromhex(one).decode() for one in pieces.splitlines()],
            list(map(int, tokens.split())),
            why,
            before,
            int(second),
        )


@dataclass(frozen=True)
class Answer:
    pieces: list[str]
    tokens: list[int]
    ended: int
    prompt_tokens: int
    second_prompt_tokens: int


def of_c(text: str) -> str:
    """Return a text as C gets it: in the place of NULs, which end a text, it has replacement characters."""
    return text.replace("\0", "\N{REPLACEMENT CHARACTER}")


@pytest.fixture(scope="module")
def packaged(user_cache: Cache, tmp_path_factory: pytest.TempPathFactory) -> Packaged:
    made = tmp_path_factory.mktemp("texts")
    folder = save_folder(made / "Texts", vocab_size=400, max_position_embeddings=1024)
    train(folder / "tokenizer.json")
    source = f"generate:{folder}"
    [model] = open_language_models([source], ModelOptions(), user_cache, quiet)
    code, text = harness("package", "c", "--models", source, "--output-dir", str(made / "package"))
    assert code == 0, text
    flags = [f"-I{made}/package/include", f"-L{made}/package/lib", "-lcharsiug2p_mobile"]
    source_file = str(Path(__file__).with_name("texts.c"))
    command = ["cc", "-Wall", "-Wextra", "-Werror", source_file, *flags, f"-Wl,-rpath,{made}/package/lib"]
    subprocess.run([*command, "-o", str(made / "program")], check=True)
    return Packaged(model, made / "package", made / "program")


def test_text_in_and_out_is_that_of_transformers_and_pythons_tokenizers(packaged: Packaged) -> None:
    model, codec = packaged.model, packaged.model.codec
    assert isinstance(codec, Codec)
    answers = model.expected(quiet).answers
    for item, ids in model.prompts.items():
        prompt = codec.decode(ids[1:])
        found = packaged.run(prompt, model.tokens)
        assert found.prompt_tokens == len(ids)
        assert tuple(found.tokens) == answers[item].token_ids
        assert "".join(found.pieces) == of_c(codec.decode(found.tokens))
        assert found.ended == LENGTH
        # The name of a special token as text is several tokens, and the special token is one.
        name = codec.encode("</s>")[1:]
        assert found.second_prompt_tokens == len(ids) + len(found.tokens) + 1 + len(name)
        assert len(name) > 1


def test_a_stop_string_over_a_border_of_tokens_ends_the_text(packaged: Packaged) -> None:
    codec = packaged.model.codec
    assert isinstance(codec, Codec)
    prompt = codec.decode(next(iter(packaged.model.prompts.values()))[1:])
    whole = packaged.run(prompt, 64)
    text = "".join(whole.pieces)
    # The end of a piece and the beginning of the next one, where the text has both for the first time.
    borders = [len("".join(whole.pieces[:at])) for at in range(2, len(whole.pieces))]
    stops = [text[at - 1 : at + 1] for at in borders]
    stop, at = next((stop, at) for stop, at in zip(stops, borders, strict=True) if text.find(stop) == at - 1)
    found = packaged.run(prompt, 64, stop)
    assert "".join(found.pieces) == text[: at - 1]
    assert found.ended == STOP_STRING
    assert found.tokens == whole.tokens[: len(found.tokens)]
    assert len(found.tokens) < 64


def test_the_example_of_the_package_answers(packaged: Packaged, tmp_path: Path) -> None:
    folder, model = packaged.package, packaged.model
    flags = [f"-I{folder}/include", f"-L{folder}/lib", "-lcharsiug2p_mobile", f"-Wl,-rpath,{folder}/lib"]
    program = str(tmp_path / "example")
    subprocess.run(["cc", str(folder / "example_text.c"), *flags, "-o", program], check=True)
    answers = list(model.expected(quiet).answers.values())
    prompt = SHIPPED[0]
    done = subprocess.run([program, model.name, prompt], capture_output=True, check=True, timeout=120)
    assert done.stdout.decode() == f"{of_c(answers[0].text)}\n"


def test_the_package_is_verified_with_its_tokenizer(packaged: Packaged, tmp_path: Path) -> None:
    code, text = harness("verify", str(packaged.package))
    assert code == 0, text
    manifest = read_manifest(packaged.package / "manifest.json")
    assert "the tokenizer of texts" in {content.name for content in manifest.contents}
    metadata = json.loads((packaged.package / "system_lib_metadata.json").read_text(encoding="utf-8"))
    assert len(metadata["models"][0]["tokenizer_sha256"]) == 64
    [library] = (packaged.package / "lib").iterdir()
    content = bytearray(library.read_bytes())
    at = content.index(b'"added_tokens"')
    content[at + 1] ^= 1
    (tmp_path / library.name).write_bytes(content)
    code, text = harness("verify", str(tmp_path / library.name), "--manifest", str(packaged.package / "manifest.json"))
    assert (code, text) == (1, f"{library.name} lacks the tokenizer of texts as it was compiled\n")
