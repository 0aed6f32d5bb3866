"""The table of CPUs against LLVM's, the runner's vocabulary, and the archives that come of it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from tvm.target import codegen

from harness.compiler import compile_models
from harness.compiler.lower import tvm_target
from harness.compiler.targets import resolve_target
from harness.compiler.targets.cpus import CPUS, UnknownCpu, cpu_names
from harness.compiler.targets.profiles import NEON, NEON_DOT, NEON_I8MM
from harness.core.cache import Cache
from harness.core.errors import ExitCode
from harness.models.g2p.checkpoints import Checkpoint
from tests.compile_requests import SMALL, g2p_request

pytestmark = [pytest.mark.compiler, pytest.mark.usefixtures("work_is_here")]

RUNNER = Path(__file__).parents[2] / "rust/g2p_tvm/src/cpu.rs"
LLVM_NAMES = {"fp16": "fullfp16", "fhm": "fp16fml", "fcma": "complxnum", "bmi1": "bmi"}
TARGETS = {"aarch64": "linux-arm64", "x86_64": "x86-64-v3"}


def vocabulary() -> dict[str, list[str]]:
    """The features that the runner detects, by architecture, from its source."""
    pattern = r'target_arch = "(\w+)"\)\]\n#\[must_use\]\npub fn known_cpu_features.*?detected!\((.*?)\)\n'
    found = re.findall(pattern, RUNNER.read_text(), re.DOTALL)
    return {architecture: re.findall(r'"([\w.]+)"', body) for architecture, body in found}


def test_the_runner_has_words_for_both_architectures() -> None:
    assert {architecture: len(words) > 10 for architecture, words in vocabulary().items()} == {
        "x86_64": True,
        "aarch64": True,
    }


@pytest.mark.parametrize("name", CPUS)
def test_what_a_cpu_needs_is_what_llvm_may_use(name: str) -> None:
    """Of everything that the runner can look for: no more, so that nothing is refused in vain, and no less."""
    cpu = CPUS[name]
    target = tvm_target(resolve_target(TARGETS[cpu.architecture], name))
    may_use = {str(feature) for feature in codegen.llvm_get_cpu_features(target)}
    known = vocabulary()[cpu.architecture]
    assert set(cpu.features) == {word for word in known if LLVM_NAMES.get(word, word) in may_use}
    assert len(set(cpu.features)) == len(cpu.features)


def test_the_profile_follows_the_cpu() -> None:
    profiles = {name: resolve_target("android-arm64", name).profile for name in cpu_names("aarch64")}
    assert profiles["cortex-a53"] is NEON
    assert profiles["cortex-a76"] is NEON_DOT
    assert profiles["apple-a13"] is NEON_DOT
    assert profiles["cortex-a510"] is NEON_I8MM
    for name, profile in profiles.items():
        assert (profile is not NEON) == ("dotprod" in CPUS[name].features)
        assert (profile.half == "widened") == (profile is NEON)
        assert (profile is NEON_I8MM) == ("i8mm" in CPUS[name].features)


def test_the_oldest_supported_phone_is_the_default() -> None:
    target = resolve_target("android-arm64")
    assert (target.cpu, target.profile) == ("cortex-a55", NEON_DOT)
    assert resolve_target("android-arm64-ndk").cpu == "cortex-a55"
    assert resolve_target("android-x86_64").cpu == "x86-64-v3"


@pytest.mark.parametrize(("target", "mcpu"), [("android-arm64", "8086"), ("android-arm64", "x86-64-v3")])
def test_an_unknown_cpu_lists_the_known(small_checkpoint: Checkpoint, cache: Cache, target: str, mcpu: str) -> None:
    with pytest.raises(UnknownCpu, match=mcpu) as caught:
        compile_models(
            g2p_request(small_checkpoint, target=target, mcpu=mcpu), cache=cache, progress=lambda _text: None
        )
    assert caught.value.exit_code is ExitCode.USAGE
    assert "cortex-a55" in caught.value.cure
    assert "x86-64-v4" not in caught.value.cure


@pytest.mark.thorough
def test_an_archive_says_what_it_was_compiled_for(small_checkpoint: Checkpoint, user_cache: Cache) -> None:
    def archive(mcpu: str | None) -> tuple[str | None, list[str], str]:
        request = g2p_request(small_checkpoint, target="android-arm64", mcpu=mcpu, **SMALL)
        made = compile_models(request, cache=user_cache, progress=lambda _text: None)
        return made.metadata.mcpu, made.metadata.cpu_features, made.metadata.system_lib_target["mcpu"]

    assert archive("cortex-a53") == ("cortex-a53", ["neon"], "cortex-a53")
    assert archive(None) == ("cortex-a55", list(CPUS["cortex-a55"].features), "cortex-a55")
