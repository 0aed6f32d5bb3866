"""Runs whose runner and archive are in the cache, for the tests of baselines and nightly runs."""

from __future__ import annotations

import hashlib
from pathlib import Path

from harness.conformance.fake_runners import write_runner
from harness.core.cache import Cache
from harness.results import Run, RunWriter, VariantFacts
from tests.results.samples import make_run

ARCHIVE_BYTES = b"!<arch>\n" + bytes(200)


_NOISY = """
import random
level = {level} * random.Random(os.urandom(8)).lognormvariate(0, {noise})

def sample(item, phase, repetition):
    global samples
    samples += 1
    put(record="sample", workload="g2p", items=[item["id"]], phase=phase, repetition=repetition, total_ns=int(level),
        parts={{"encoder": [int(level * 0.2)], "prefill": [int(level * 0.02)], "step": [int(level * 0.35)] * 2}},
        outputs=[output(item)])

everything()
"""


def noisy(level: float, noise: float = 0.005) -> str:
    """The body of a runner that reports times of ``level`` nanoseconds, each process a little different."""
    return _NOISY.format(level=level, noise=noise)


def cached_run(results: Path, cache: Cache, *, body: str = "everything()", timed: bool = True) -> Run:
    """A run whose runner and archive are in the cache, as the harness leaves it."""

    def build_runner(folder: Path) -> None:
        write_runner(folder, body, "device_runner")

    def build_archive(folder: Path) -> None:
        (folder / "libx.a").write_bytes(ARCHIVE_BYTES)

    runner = cache.fetch("runners", hashlib.sha256(body.encode()).hexdigest()[:32], build_runner) / "device_runner"
    archive = cache.fetch("archives", "0" * 32, build_archive)
    facts = VariantFacts(
        archive_sha256=hashlib.sha256((archive / "libx.a").read_bytes()).hexdigest(),
        archive_bytes=len(ARCHIVE_BYTES),
        runner_sha256=hashlib.sha256(runner.read_bytes()).hexdigest(),
        runner_bytes=runner.stat().st_size,
        target="llvm",
    )
    run = make_run(results)
    manifest = run.manifest()
    orders = manifest.orders if timed else []
    RunWriter(run.folder, manifest).update(variants={"cache": facts}, orders=orders)
    return run
