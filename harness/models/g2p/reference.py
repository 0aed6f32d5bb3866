"""Get PyTorch's answers: transformers' greedy decoding of every word, with margins. Imports no PyTorch.

A worker makes a reference, and the cache keeps it by everything on which it depends. It holds on any machine, because
it contains no times. Those are taken with the runner's, in the same session (:mod:`harness.models.timing`).
"""

from __future__ import annotations

import platform
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from harness.core.cache import Cache, content_key, hash_file
from harness.core.installation import package_version
from harness.core.progress import Progress
from harness.core.worker import run_worker
from harness.models.g2p.checkpoints import Checkpoint
from harness.models.g2p.word_list import Word

WORKER = "harness.models.g2p.reference_worker"
RESULT = "reference.json"
THREADS = 1
"""Answers are made on one thread, however many threads are timed: sums in another order may end in another digit."""


@dataclass(frozen=True)
class ReferenceOptions:
    """Hold the options of a reference. ``logit_steps`` are the steps whose full logits are kept."""

    max_output_len: int = 128
    prompt_space: bool = True
    logit_steps: tuple[int, ...] = ()


class ReferenceItem(BaseModel):
    """Hold one word's answer. Generated ids include the end token and not the start token."""

    model_config = ConfigDict(frozen=True)

    language: str
    word: str
    token_ids: list[int]
    text: str
    margins: list[float]
    """The best minus the second-best logit of every step."""
    logits: dict[int, list[float]]


class Reference(BaseModel):
    model_config = ConfigDict(frozen=True)

    items: list[ReferenceItem]
    torch_version: str
    transformers_version: str
    cpu: str
    """The CPU of the machine that made it, which may not be the run's."""
    made_unix_s: int | None = None


def reference_outputs(
    checkpoint: Checkpoint, words: list[Word], options: ReferenceOptions, *, cache: Cache, progress: Progress
) -> Reference:
    """Return the reference of these words, from the cache or made now (tens of milliseconds a word)."""
    asked = [{"language": word.language, "word": word.word} for word in words]
    sources = Path(__file__).parent
    fields = {
        "checkpoint": checkpoint.sha256,
        "words": asked,
        "options": asdict(options),
        "torch": package_version("torch"),
        "transformers": package_version("transformers"),
        "sources": [hash_file(sources / name) for name in ("reference_worker.py", "reference.py", "loading.py")],
    }

    def build(folder: Path) -> None:
        request = {
            "checkpoint": str(checkpoint.folder),
            "words": asked,
            "options": {**asdict(options), "threads": THREADS},
            "cpu": cpu_name(),
        }
        result = run_worker(WORKER, request, progress, threads=THREADS)
        reference = Reference.model_validate(result | {"made_unix_s": int(time.time())})
        (folder / RESULT).write_text(reference.model_dump_json() + "\n", encoding="utf-8")

    folder = cache.fetch("references", content_key(fields), build)
    return Reference.model_validate_json((folder / RESULT).read_bytes())


def cpu_name() -> str:
    """Return the CPU's marketing name if the system reports it."""
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()
