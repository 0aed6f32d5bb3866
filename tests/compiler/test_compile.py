"""Archives of a small model: their symbols on every target, their bytes, their metadata, and what is refused."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import lief
import numpy as np
import pytest
import torch
import tvm
from tvm import relax

from harness.compiler import Archive, CompileRequest, compile_models, compile_smoke, read_metadata
from harness.compiler.front import BadRequest
from harness.compiler.importer.importing import import_function
from harness.compiler.lower import lower, tvm_target
from harness.compiler.metadata import BadMetadata
from harness.compiler.operators.operator import OpTable
from harness.compiler.passes.pipeline import Recipe
from harness.compiler.targets import TARGET_NAMES, UnknownTarget, resolve_target
from harness.compiler.worker import compile_model
from harness.core.cache import MANIFEST, Cache, hash_file
from harness.core.errors import ExitCode
from harness.models.g2p.checkpoints import Checkpoint
from harness.models.g2p.functions import G2PShapes, g2p_spec
from harness.models.g2p.loading import load_checkpoint
from harness.models.g2p.network import Decoder, DecoderPrefill, DecoderStep, Encoder
from tests.compile_requests import SMALL, g2p_request

pytestmark = [pytest.mark.compiler, pytest.mark.usefixtures("work_is_here")]

SHAPES = {"batch_size": 1, "max_input_bytes": 24, "max_output_len": 16}
CACHED = ("encoder", "decoder_prefill", "decoder_step")
CACHELESS = ("encoder", "decoder")

ELF_MACHINE = {
    "x86-64-v3": "X86_64",
    "linux-arm64": "AARCH64",
    "android-arm64": "AARCH64",
    "android-arm64-ndk": "AARCH64",
    "android-x86_64": "X86_64",
}
IOS_PLATFORM = {"ios-arm64": 2, "ios-arm64-simulator": 7}


def compile_here(
    checkpoint: Checkpoint,
    target: str,
    folder: Path,
    *,
    kv_cache: bool = True,
    precision: str = "fp32",
    profile: bool = False,
) -> Path:
    """Compile in this process, so that PyTorch and TVM are imported once for all tests."""
    (folder / "work").mkdir(parents=True)
    names = CACHED if kv_cache else CACHELESS
    request: dict[str, Any] = {
        "target": target,
        "mcpu": None,
        "name": "g2p",
        "load": "harness.models.g2p.functions:load",
        "request": {"checkpoint": str(checkpoint.folder), "kv_cache": kv_cache, "shapes": SHAPES},
        "precision": precision,
        "profile": profile,
        "taps": False,
        "keep_wide": [],
        "prefix": "g2p_",
        "prefixes": {name: f"g2p_{name}_" for name in names},
        "archive": "libg2p_system_lib.a",
        "folder": str(folder),
        "workspace": str(folder / "work"),
    }
    compile_model(request, lambda _text: None)
    return folder / "libg2p_system_lib.a"


def members(archive: Path, folder: Path) -> list[Path]:
    folder.mkdir()
    subprocess.run([sys.executable, "-m", "ziglang", "ar", "x", str(archive)], cwd=folder, check=True)
    return sorted(folder.iterdir())


def symbols(archive: Path, folder: Path) -> tuple[list[Any], set[str]]:
    parsed: list[Any] = [lief.parse(path) for path in members(archive, folder)]
    return parsed, {str(s.name).removeprefix("_") for binary in parsed for s in binary.symbols}


@pytest.mark.thorough(keep=["android-arm64"])
@pytest.mark.parametrize("target", sorted({*TARGET_NAMES} - {"llvm"}))
def test_every_target_has_its_format_and_every_prefix(
    small_checkpoint: Checkpoint, tmp_path: Path, target: str
) -> None:
    archive = compile_here(small_checkpoint, target, tmp_path / "out")
    binaries, names = symbols(archive, tmp_path / "members")
    for name in CACHED:
        registration = f"g2p_{name}___tvm_ffi__library_bin"
        assert registration in names or f"g2p_{name}__tvm_ffi__library_bin" in names
        assert any(s.startswith("_tvm_ffi_g2p_") or f"g2p_{name}_" in s for s in names)
    if target in ELF_MACHINE:
        assert {b.header.machine_type.name for b in binaries} == {ELF_MACHINE[target]}
    else:
        platforms = {int(b.build_version.platform.value) for b in binaries}
        assert platforms == {IOS_PLATFORM[target]}
        assert {tuple(b.build_version.minos)[:2] for b in binaries} == {(14, 0)}


@pytest.mark.thorough
def test_without_a_cache_there_is_a_decoder_and_no_step(small_checkpoint: Checkpoint, tmp_path: Path) -> None:
    archive = compile_here(small_checkpoint, "llvm", tmp_path / "out", kv_cache=False)
    _, names = symbols(archive, tmp_path / "members")
    text = " ".join(names)
    assert "g2p_decoder_" in text
    assert "g2p_decoder_step" not in text


@pytest.mark.thorough
@pytest.mark.parametrize("target", ["llvm", "ios-arm64"])
def test_the_same_inputs_give_the_same_bytes(small_checkpoint: Checkpoint, tmp_path: Path, target: str) -> None:
    first = compile_here(small_checkpoint, target, tmp_path / "one")
    script = (
        "import sys\nfrom pathlib import Path\nfrom harness.models.g2p.checkpoints import Checkpoint\n"
        "from tests.compiler.test_compile import compile_here\n"
        "folder, out, target = sys.argv[1:]\n"
        "compile_here(Checkpoint('', Path(folder), '', None), target, Path(out))\n"
    )
    other = tmp_path / "two"
    # Another process, so that hash seeds and addresses differ.
    root = Path(__file__).parents[2]
    subprocess.run(
        [sys.executable, "-c", script, str(small_checkpoint.folder), str(other), target],
        check=True,
        cwd=root,
        capture_output=True,
    )
    assert hash_file(first) == hash_file(other / "libg2p_system_lib.a")


@pytest.mark.thorough(keep=["fp16-2"])
@pytest.mark.parametrize(("precision", "most"), [("fp32", 4), ("fp16", 2), ("int8", 1)])
def test_weights_are_linked_once_in_their_precision(
    small_checkpoint: Checkpoint, tmp_path: Path, precision: str, most: int
) -> None:
    """The weights are one object of read-only data; embeddings that two functions read are there once, and so is each
    kernel: not also as it was before it found its weights there."""
    archive = compile_here(small_checkpoint, "llvm", tmp_path / "out", precision=precision)
    objects = members(archive, tmp_path / "members")
    weights = next(path for path in objects if path.name == "g2p_weights.o")
    symbols = {str(s.name) for path in objects if (found := lief.parse(path)) for s in found.symbols}
    products = {name for name in symbols if name.startswith("__tvm_ffi_") and "_product_" in name}
    assert products
    assert all(name.endswith("_linked") for name in products)
    t5 = load_checkpoint(small_checkpoint.folder)
    matrices = sum(p.numel() for name, p in t5.named_parameters() if p.ndim == 2 and "bias" not in name)
    # Panels are padded with zeros, int8 has scales, and gains and biases stay float32.
    assert matrices * most * 0.95 < weights.stat().st_size < matrices * most * 1.6 + 65536
    binary: Any = lief.parse(weights)
    assert [s.name for s in binary.symbols if s.is_function and str(s.binding).endswith("GLOBAL")] == ["g2p_weights"]


@pytest.mark.thorough(keep=["1"])
@torch.no_grad()
@pytest.mark.parametrize("batch", [1, 3])
def test_compiled_functions_equal_the_torch_modules(small_checkpoint: Checkpoint, batch: int) -> None:
    t5 = load_checkpoint(small_checkpoint.folder)
    shapes = G2PShapes(batch_size=batch, **SMALL)
    host = resolve_target("llvm")
    functions: dict[str, Any] = {}
    for kv_cache in (True, False):
        spec = g2p_spec(t5, shapes, kv_cache=kv_cache)
        for function in spec.functions:
            if function.name in functions:
                continue
            ops = OpTable()
            module = import_function(function, ops)
            recipe = Recipe(host.profile, "fp32", f"test{batch}_{function.name}_", ops, function.results)
            executable = lower(module, tvm_target(host), recipe)
            functions[function.name] = relax.VirtualMachine(executable, tvm.cpu())["main"]

    def tensor(value: Any) -> Any:
        return tvm.runtime.tensor(np.ascontiguousarray(value))

    encoder, decoder = Encoder(t5, 24), Decoder(t5, 16)
    prefill, step = DecoderPrefill(t5, 32, torch.float32), DecoderStep(t5, 16)
    for length in (1, 2, 7, 24):
        lengths = torch.tensor([length, *[max(1, length // 2)] * (batch - 1)], dtype=torch.int32)
        mask = torch.arange(length)[None] < lengths[:, None]
        inside = mask.numpy()
        ids = torch.randint(3, 259, (batch, length), dtype=torch.int32) * mask
        padded = lengths if batch > 1 else None
        hidden = encoder(ids, padded)
        compiled_hidden = functions["encoder"](tensor(ids), tensor(lengths))
        np.testing.assert_allclose(compiled_hidden.numpy()[inside], hidden.numpy()[inside], atol=1e-4)
        tokens = torch.randint(3, 259, (batch, 16), dtype=torch.int32)
        expected = decoder(tokens, hidden, padded)
        whole = functions["decoder"](tensor(tokens), compiled_hidden, tensor(lengths))
        np.testing.assert_allclose(whole.numpy(), expected, atol=2e-3)
        memory, torch_memory = functions["decoder_prefill"](compiled_hidden), prefill(hidden)
        cache = torch.zeros(batch, 2, 2, 16 * 48)
        compiled_cache = tensor(cache)
        for position in range(16):
            # Words leave the batch as they end; the step goes on with the others, in any order.
            rows = torch.arange(batch, dtype=torch.int32).flip(0)[: max(1, batch - position // 6)]
            at, chosen = torch.tensor([position], dtype=torch.int32), rows.long()
            following, logits, cache = step(tokens[chosen, position], rows, at, lengths, cache, torch_memory)
            token, ours = tensor(tokens[chosen, position]), tensor(np.full(logits.shape, np.nan, np.float32))
            returned = functions["decoder_step"](
                token, tensor(rows), tensor(at), tensor(lengths), compiled_cache, memory, ours
            )
            np.testing.assert_allclose(ours.numpy(), logits, atol=2e-3)
            np.testing.assert_allclose(logits, expected[chosen, position], atol=2e-3)
            # The step wrote the next tokens into the buffer it was given, and returned it.
            np.testing.assert_array_equal(token.numpy(), following)
            np.testing.assert_array_equal(returned.numpy(), following)


@pytest.fixture(scope="module")
def compiled(
    small_checkpoint: Checkpoint, user_cache: Cache, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Archive, CompileRequest, Cache]:
    """In a cache of its own, where it may be damaged; a copy of what other tests compile, too."""
    cache = Cache(tmp_path_factory.mktemp("cache"))
    request = g2p_request(small_checkpoint, **SMALL)
    shared = compile_models(request, cache=user_cache, progress=lambda _text: None).folder

    def copy(folder: Path) -> None:
        shutil.copytree(shared, folder, dirs_exist_ok=True, ignore=shutil.ignore_patterns(MANIFEST))

    cache.fetch("archives", shared.name, copy)
    said: list[str] = []
    archive = compile_models(request, cache=cache, progress=said.append)
    assert said == [], "the copy is not taken for the archive"
    return archive, request, cache


def test_metadata_has_the_published_schema(
    compiled: tuple[Archive, CompileRequest, Cache], small_checkpoint: Checkpoint
) -> None:
    archive = compiled[0]
    written = json.loads((archive.folder / "system_lib_metadata.json").read_text())
    published = {
        "archive": "libg2p_system_lib.a",
        "prefix_base": "g2p_",
        "prefixes": {name: f"g2p_{name}_" for name in CACHED},
        "checkpoint": small_checkpoint.label,
        "batch_size": 1,
        "max_input_bytes": 24,
        "max_output_len": 16,
        "target": "llvm",
        "output_ext": "so",
        "use_kv_cache": True,
    }
    assert {key: written[key] for key in published} == published
    assert list(written)[: len(published)] == list(published)
    assert written["archive_sha256"] == hash_file(archive.path)
    assert written["self_cache_shape"] == [1, 2, 2, 16 * 48]
    assert (written["precision"], written["self_cache_dtype"]) == ("fp32", "float32")


def test_the_second_time_comes_from_the_cache(compiled: tuple[Archive, CompileRequest, Cache]) -> None:
    archive, request, cache = compiled
    said: list[str] = []
    assert compile_models(request, cache=cache, progress=said.append).sha256 == archive.sha256
    assert said == []


def test_a_truncated_archive_is_noticed_and_made_again(compiled: tuple[Archive, CompileRequest, Cache]) -> None:
    archive, request, cache = compiled
    whole = archive.path.read_bytes()
    archive.path.write_bytes(whole[: len(whole) // 2])
    told: list[str] = []
    repaired = compile_models(request, cache=Cache(cache.root, told.append), progress=lambda _text: None)
    assert repaired.path.read_bytes() == whole
    assert "damaged" in told[0]


def test_the_smoke_archive_adds_one(cache: Cache, tmp_path: Path) -> None:
    folder = compile_smoke("g2p_test_", "llvm", cache=cache, progress=lambda _text: None)
    _, names = symbols(folder / "libg2p_smoke_system_lib.a", tmp_path / "members")
    assert any("g2p_test_" in name and name.endswith("__tvm_ffi__library_bin") for name in names)


def test_an_unknown_target_lists_the_known() -> None:
    with pytest.raises(UnknownTarget, match="vax") as caught:
        resolve_target("vax")
    assert caught.value.exit_code is ExitCode.USAGE
    for name in TARGET_NAMES:
        assert name in caught.value.cure


@pytest.mark.thorough(keep=["change[012]*"])
@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"prefix": "1st"}, "'1st'"),
        ({"prefix": "a b"}, "'a b'"),
        ({"precision": "int4"}, "has no int4 form"),
        ({"precision": "int3"}, "'int3'"),
        ({"prefix": ""}, "''"),
    ],
)
def test_impossible_requests_name_the_option(
    small_checkpoint: Checkpoint, cache: Cache, change: dict[str, Any], named: str
) -> None:
    with pytest.raises(BadRequest, match=named):
        compile_models(g2p_request(small_checkpoint, **change), cache=cache, progress=lambda _text: None)


def test_unreadable_metadata_is_named(tmp_path: Path) -> None:
    with pytest.raises(BadMetadata, match="cannot read"):
        read_metadata(tmp_path)
    (tmp_path / "system_lib_metadata.json").write_text('{"archive": 1}')
    with pytest.raises(BadMetadata, match="not of the schema"):
        read_metadata(tmp_path)
