"""Kotlin on a JVM: the generated binding, the example and Checks.kt, with the library of three models through JNA."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from harness.core.cache import Cache, content_key, hash_file
from tests.mobile.conftest import ROOT, WORDS, AppModels
from tests.mobile.jars import kotlin_jars
from tests.mobile.test_c import damage

pytestmark = pytest.mark.compiler
SOURCES = [ROOT / "bindings/kotlin/charsiug2p/charsiug2p.kt", ROOT / "bindings/kotlin/Example.kt"]
SOURCES += [ROOT / "bindings/kotlin/ExampleText.kt", Path(__file__).parent / "Checks.kt"]
# Programs of seconds: without the compiler of the last percent, and without a collector for many cores.
JVM = ["java", "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-Xshare:auto"]


@pytest.fixture(scope="module")
def class_path(user_cache: Cache) -> str:
    """The path of the compiled sources and the jars that they need. Compiled once for sources and jars."""
    jars = kotlin_jars(user_cache)

    def compile_sources(folder: Path) -> None:
        compiler = [*JVM, "-cp", os.pathsep.join(map(str, jars)), "org.jetbrains.kotlin.cli.jvm.K2JVMCompiler"]
        needed = os.pathsep.join(str(jar) for jar in jars if jar.name.startswith(("jna", "kotlin-stdlib")))
        options = ["-no-stdlib", "-no-reflect", "-nowarn", "-jvm-target", "17", "-cp", needed, "-d", str(folder)]
        done = subprocess.run([*compiler, *options, *map(str, SOURCES)], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr

    key = content_key({"sources": [hash_file(path) for path in SOURCES], "jars": [jar.name for jar in jars]})
    return os.pathsep.join(map(str, [user_cache.fetch("kotlin", key, compile_sources), *jars]))


def run(class_path: str, library: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    options = [f"-Djna.library.path={library.parent}", "-Dfile.encoding=UTF-8", "-cp", class_path]
    return subprocess.run(
        [*JVM, *options, *arguments], capture_output=True, text=True, encoding="utf-8", check=False, timeout=120
    )


def test_good_and_bad_calls_end_as_they_should(class_path: str, app_models: AppModels) -> None:
    done = run(class_path, app_models.library, "ChecksKt")
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == app_models.phonemes


def test_a_language_models_answer_is_that_of_transformers(class_path: str, app_models: AppModels) -> None:
    done = run(class_path, app_models.library, "ChecksKt", "generate", *map(str, app_models.prompt))
    assert done.returncode == 0, done.stderr
    assert [int(token) for token in done.stdout.split()] == app_models.tokens[:32]


def test_the_example_answers_as_pytorch(class_path: str, app_models: AppModels) -> None:
    done = run(class_path, app_models.library, "ExampleKt", "eng-us", *WORDS)
    expected = [f"{word}\t{phonemes}" for word, phonemes in zip(WORDS, app_models.phonemes, strict=True)]
    assert (done.returncode, done.stdout.splitlines()) == (0, expected), done.stderr


def test_the_example_of_texts_names_what_is_missing(class_path: str, app_models: AppModels) -> None:
    done = run(class_path, app_models.library, "ExampleTextKt", "tiny_llama", "Char")
    assert done.returncode == 1
    assert done.stderr.startswith('BadPrompt: the model "tiny_llama" has no tokenizer')


def test_a_damaged_model_is_an_exception_and_the_other_one_works(
    class_path: str, app_models: AppModels, tmp_path: Path
) -> None:
    shutil.copy(app_models.library, tmp_path)
    damage(tmp_path / app_models.library.name, "scaled_")
    done = run(class_path, tmp_path / app_models.library.name, "ChecksKt", "corrupt")
    assert done.returncode == 0, done.stderr
