"""The C interface: the example and checks.c, compiled on this machine, with the library of three models."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.mobile.conftest import ROOT, WORDS, AppModels

pytestmark = pytest.mark.compiler
HEADER = ROOT / "bindings/c"


@pytest.fixture(scope="module")
def programs(app_models: AppModels, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of both programs, beside a copy of the library that they load from there."""
    folder = tmp_path_factory.mktemp("c programs")
    shutil.copy(app_models.library, folder)
    for source in (HEADER / "example.c", Path(__file__).parent / "checks.c"):
        flags = ["-std=gnu11", "-Wall", "-Wextra", "-Werror", "-O1", "-pthread", f"-I{HEADER}", "-Wl,-rpath,$ORIGIN"]
        command = ["cc", *flags, str(source), f"-L{folder}", "-lcharsiug2p_mobile", "-o", str(folder / source.stem)]
        subprocess.run(command, check=True)
    return folder


def run(program: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    # The allocator's checks of its own heap, so that a double free or an overrun ends the program.
    environment = os.environ | {"MALLOC_CHECK_": "3", "MALLOC_PERTURB_": "165"}
    return subprocess.run(
        [str(program), *arguments], env=environment, capture_output=True, text=True, check=False, timeout=60
    )


def test_good_and_bad_calls_end_as_they_should(programs: Path, app_models: AppModels) -> None:
    done = run(programs / "checks")
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == app_models.phonemes


def test_a_language_models_answer_is_that_of_transformers(programs: Path, app_models: AppModels) -> None:
    done = run(programs / "checks", "generate", *map(str, app_models.prompt))
    assert done.returncode == 0, done.stderr
    assert [int(token) for token in done.stdout.split()] == app_models.tokens[:32]


def test_the_example_answers_as_pytorch(programs: Path, app_models: AppModels) -> None:
    done = run(programs / "example", "eng-us", *WORDS)
    expected = [f"{word}\t{phonemes}" for word, phonemes in zip(WORDS, app_models.phonemes, strict=True)]
    assert (done.returncode, done.stdout.splitlines(), done.stderr) == (0, expected, "")
    wrong = run(programs / "example", "klingon", "a")
    assert wrong.returncode == 1
    assert wrong.stderr.startswith("error 14: ")
    assert "klingon" in wrong.stderr


def test_a_load_without_memory_is_an_error_and_the_next_one_works(programs: Path) -> None:
    done = run(programs / "checks", "memory")
    assert done.returncode == 0, done.stderr


def test_a_damaged_model_is_an_error_and_the_other_one_works(programs: Path, tmp_path: Path) -> None:
    for name in ("checks", "libcharsiug2p_mobile.so"):
        shutil.copy(programs / name, tmp_path)
    library = tmp_path / "libcharsiug2p_mobile.so"
    damage(library, "scaled_")
    done = run(tmp_path / "checks", "corrupt")
    assert done.returncode == 0, done.stderr


def damage(library: Path, prefix: str) -> None:
    """Change the name of the format at the start of a model's executable inside the library."""
    content = bytearray(library.read_bytes())
    offset, size = symbol_in_file(library, f"{prefix}__tvm_ffi__library_bin")
    at = content.index(b"relax.VMExecutable", offset, offset + size)
    content[at : at + 5] = b"relay"
    library.write_bytes(content)


def symbol_in_file(library: Path, name: str) -> tuple[int, int]:
    """Return where a symbol's bytes begin in an ELF file, and how many they are."""
    import lief

    binary: Any = lief.parse(library)
    symbol = binary.get_symbol(name)
    return binary.virtual_address_to_offset(symbol.value), symbol.size
