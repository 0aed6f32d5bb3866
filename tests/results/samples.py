"""Runs made of plain lines, for the tests of the store, the reports and the commands."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

from harness.devices import AnyRecord, Knob
from harness.protocol import Header, Load, Memory, Output, Phase, Sample
from harness.results import (
    CheckpointFacts,
    Git,
    OrderEntry,
    PairingFacts,
    PairLine,
    ReferenceLine,
    Run,
    RunStatus,
    RunWriter,
    SampleLine,
    Store,
    VariantFacts,
    WordsFacts,
    now,
)
from harness.results.schema import GateFacts
from harness.results.summarize import parity_line, summarize
from harness.validate import EXACT, Allowance, Decoded, compare_word
from tests.devices.fake_runners import make_order

WORDS = {
    "w0": ("eng-us", "cat", ("kæt",), "kæt"),
    "w1": ("eng-us", "dog", ("dɔɡ", "dɒɡ"), "dɒɡ"),
    "w2": ("fra", "chat", ("ʃa",), "ʃat"),
}
"""Item: language, word, gold pronunciations, what both sides say."""


def ids(text: str) -> list[int]:
    return [byte + 3 for byte in text.encode()] + [1]


def sample(item: str, phase: Phase, repetition: int, total_ns: int) -> Sample:
    text = WORDS[item][3]
    return Sample(
        record="sample",
        model="g2p",
        items=[item],
        phase=phase,
        repetition=repetition,
        total_ns=total_ns,
        encoder_ns=total_ns // 4,
        prefill_ns=total_ns // 8,
        step_ns=[total_ns // 16] * 4,
        outputs=[Output(token_ids=ids(text), text=text)],
    )


def header(order_id: str) -> Header:
    return Header.model_validate(
        {
            "record": "header",
            "schema_version": 1,
            "order_id": order_id,
            "runner_version": "0.1",
            "archive_sha256": "ab" * 32,
            "os": "linux",
            "arch": "x86_64",
            "cpu": {"model": "test", "cores": 1, "features": []},
            "threads": 1,
            "pid": 1,
            "started_unix_ns": 1,
        }
    )


def take_turns(writer: RunWriter, rng: random.Random, *, scale: float, noise: float, others: float | None) -> None:
    """Four rounds of all words, PyTorch at 2 ms."""
    for number in range(4):
        shift = 1 + noise * (-1) ** number
        for at, item in enumerate(WORDS):
            writer.pair(
                PairLine(
                    model="g2p",
                    item=item,
                    round=number,
                    first="artifact" if (at + number) % 2 == 0 else "pytorch",
                    artifact_ns=[int(scale * 1e6 * shift * rng.uniform(0.99, 1.01)) for _ in range(3)],
                    pytorch_ns=[int(2e6 * rng.uniform(0.99, 1.01))],
                )
            )
    facts = PairingFacts(started=now(), items=3, of=3, rounds=4, seconds=0.1, cores=2, others=others, steal=0.0)
    writer.end_pairs("g2p", facts)


def make_run(
    root: Path,
    *,
    scale: float = 1.0,
    wrong: tuple[str, ...] = (),
    ended: bool = True,
    complete: bool = True,
    seed: int = 1,
    device: str = "test cpu",
    words_sha256: str = "0" * 64,
    load: float = 0.5,
    allowance: Allowance = EXACT,
    emulated: bool = False,
    knobs: tuple[Knob, ...] = (),
    before: dict[str, Any] | None = None,
    after: dict[str, Any] | None = None,
    observed: dict[str, Any] | None = None,
    gate: GateFacts | None = None,
    apart: bool = False,
    noise: float = 0.02,
    others: float | None = 0.0,
) -> Run:
    """A stored run of a made-up cache variant: 3 words, 5 timed repetitions, ``wrong`` words mismatched.

    PyTorch takes twice as long, in 4 rounds of turns that differ by ``noise`` while ``others`` cores are busy; with
    ``apart`` its times are as runs of before have them.
    """
    rng = random.Random(seed)
    writer = Store(root).create(
        git=Git(commit="c0ffee" * 6 + "beef", dirty=True),
        gate=gate,
        device={
            "kind": "host",
            "name": "host",
            "cpu_model": device,
            "cores": 2,
            "memory_bytes": 2**33,
            "os": "Test",
            "emulated": emulated,
        },
        command=["pytest", "suites", "--device", "host"],
        options={"threads": 1, "repeat": 5, "warmup": 1, "tolerance": 1e-3},
        versions={"python": "3.11", "torch": "2.15"},
        allowance=allowance,
        checkpoint=CheckpointFacts(label="embedded", sha256="1" * 64),
        words=WordsFacts(count=3, languages=["eng-us", "fra"], sha256=words_sha256, source="default"),
        variants={
            "cache": VariantFacts(
                archive_sha256="ab" * 32,
                archive_bytes=5_000_000,
                runner_sha256="cd" * 32,
                runner_bytes=9_000_000,
                target="llvm",
            )
        },
        reference={"threads": 1, "torch": "2.15", "made_unix_s": 1_764_300_000},
    )
    writer.reference(
        ReferenceLine(
            item=item,
            language=language,
            word=word,
            pronunciations=list(gold),
            token_ids=ids(text),
            text=text,
            margins=[2.0] * len(ids(text)),
            latency_ns=[int(2_000_000 * rng.uniform(0.9, 1.1)) for _ in range(5)] if apart else [],
        )
        for item, (language, word, gold, text) in WORDS.items()
    )
    parity = []
    for item, (language, word, _, text) in WORDS.items():
        said = "x" + text if item in wrong else text
        wanted, got = (Decoded(tuple(ids(t)), t, (2.0,) * len(ids(t))) for t in (text, said))
        parity.append(parity_line("cache", compare_word(item, language, word, wanted, [got])))
    writer.parity(parity)
    entry = OrderEntry(
        order_id="latency-cache-1",
        purpose="latency",
        variant="cache",
        started=now(),
        conditions_before=before or {"load_1min": load, "battery": {"level": 90, "celsius": 28.5}},
        conditions_after=after or {"load_1min": load, "battery": {"level": 89, "celsius": 31.0}},
        knobs=list(knobs),
        observed=observed or {"clocks_mhz": [1800, 2400]},
    )
    writer.begin_order(entry, make_order(order_id=entry.order_id))
    lines: list[AnyRecord] = [
        header(entry.order_id),
        Load(record="load", model="g2p", function="encoder", load_ns=30_000_000),
    ]
    passes = [(Phase.WARMUP, 0)] + [(Phase.TIMED, at) for at in range(5)]
    taken = [
        sample(
            item,
            Phase.FIRST if (phase, item) == (Phase.WARMUP, "w0") else phase,
            at,
            int(scale * 1e6 * rng.uniform(0.9, 1.1)),
        )
        for phase, at in passes
        for item in WORDS
    ]
    records: list[AnyRecord] = [*lines, *taken, Memory(record="memory", peak_bytes=50_000_000)]
    for record in records:
        writer.sample(SampleLine(order=entry.order_id, record=record))
    if not apart and not emulated:
        take_turns(writer, rng, scale=scale, noise=noise, others=others)
    if ended:
        writer.end_order(
            entry.model_copy(
                update={"ended": now(), "complete": complete, "reason": None if complete else "killed by SIGKILL"}
            )
        )
        run = Run(writer.folder)
        status = RunStatus.COMPLETE if complete else RunStatus.INCOMPLETE
        reason = None if complete else "the latency order of cache was killed by SIGKILL"
        manifest = writer.manifest.model_copy(update={"status": status, "reason": reason})
        writer.summary(summarize(manifest, run.reference(), run.samples(), run.parity(), pairs=run.pairs()))
        writer.finish(status, reason)
    writer.close()
    return Run(writer.folder)
