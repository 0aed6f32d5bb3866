"""A builder for tests of the plugin: its runner is a small script, its PyTorch says what the script says."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from harness.compiler import Archive, ArchiveMetadata
from harness.conformance.fake_runners import ARCHIVE, write_runner
from harness.core.cache import Cache, hash_file
from harness.core.errors import HarnessError
from harness.core.progress import Progress
from harness.models.g2p.checkpoints import Checkpoint
from harness.models.g2p.options import G2POptions
from harness.models.g2p.workload import G2P
from harness.models.options import ModelOptions
from harness.models.timing import TimedPyTorch
from harness.models.workload import Expected, TimedModel, Workload
from harness.native import AppOptions, Runner
from harness.run.builder import RunOptions
from harness.validate import Decoded
from tests.fake_pytorch import FakePyTorch


class FakeBuilder:
    """``bodies`` says how the runner behaves in the parity and the latency order of either variant."""

    def __init__(self, folder: Path, body: str = "everything()", fail: str = "", wrong: str = "") -> None:
        self.folder, self.body, self.fail, self.wrong = folder, body, fail, wrong

    def workloads(self, options: ModelOptions, progress: Progress) -> Sequence[Workload[Any]]:
        builder = self

        class Fake(G2P):
            def expected(self, progress: Progress) -> Expected[Decoded]:
                return Expected({item.id: builder.answer(item.label) for item in self.items}, {"torch_version": "0"})

        checkpoint = Checkpoint(G2POptions.of(options).checkpoint, self.folder, "1" * 64, ("eng-us", "fra"))
        return [Fake.opened(checkpoint, options, Cache(self.folder / "cache"))]

    def pytorch(self, options: RunOptions, models: list[TimedModel]) -> TimedPyTorch:
        def answers(_model: str, item: dict[str, Any]) -> dict[str, Any]:
            return {"token_ids": self._ids(item["word"])}

        return FakePyTorch(models, answers)

    def archive(
        self,
        options: RunOptions,
        workloads: Sequence[Workload[Any]],
        variant: str,
        progress: Progress,
        *,
        profile: bool = False,
        taps: bool = False,
    ) -> Archive:
        if profile:
            raise HarnessError("the script has no marks")
        if self.fail:
            raise HarnessError(self.fail, cure="try something else")
        [workload] = workloads
        own = G2POptions.of(options)
        folder = self.folder / variant
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "lib.a").write_bytes(b"archive")
        names = ("encoder", "decoder_prefill", "decoder_step") if variant == "cache" else ("encoder", "decoder")
        metadata = ArchiveMetadata(
            archive="lib.a",
            prefix_base="g2p_",
            prefixes={name: f"g2p_{name}_" for name in names},
            checkpoint=workload.label,
            batch_size=1,
            max_input_bytes=own.max_input_bytes,
            max_output_len=own.max_output_len,
            target="llvm",
            use_kv_cache=variant == "cache",
            archive_sha256=ARCHIVE,
            checkpoint_sha256=workload.weights_sha256,
            vocab_size=384,
            decoder_start_token_id=0,
            eos_token_id=1,
            self_cache_shape=None,
            prompt_space=True,
            languages=["eng-us", "fra"],
            max_threads=2,
            tvm_version="0",
            system_lib_target={},
        )
        return Archive(folder, metadata)

    def runner(self, archive: Archive, progress: Progress, app: AppOptions | None = None) -> Runner:
        path = write_runner(archive.folder, self.body)
        return Runner(path, archive, hash_file(path), path.stat().st_size)

    def answer(self, word: str) -> Decoded:
        ids = self._ids(word)
        return Decoded(tuple(ids), self._text(word), (2.5,) * len(ids))

    def _text(self, word: str) -> str:
        return word + "x" if word == self.wrong else word

    def _ids(self, word: str) -> list[int]:
        return [byte + 3 for byte in self._text(word).encode()] + [1]
