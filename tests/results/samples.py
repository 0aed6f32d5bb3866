"""Runs made of plain lines, for the tests of the store, the reports and the commands."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from harness.conformance.fake_runners import make_order
from harness.devices import AnyRecord, Knob
from harness.protocol.schema import Header, Load, Memory, Output, Phase, Sample, WorkItem
from harness.results import (
    Git,
    OrderEntry,
    ParityLine,
    ReferenceLine,
    Run,
    RunStatus,
    RunWriter,
    SampleLine,
    Store,
    VariantFacts,
    WorkloadFacts,
    now,
)
from harness.results.schema import GateFacts
from harness.results.summarize import summarize_files
from harness.validate import EXACT, Decoded, TolerancePolicy, compare_decodings
from tests.results.made_models import MadeModel, model_facts, take_turns, write_model

GIT = Git(commit="c0ffee" * 6 + "beef", dirty=True)
WORDS = {
    "w0": ("eng-us", "cat", ("kæt",), "kæt"),
    "w1": ("eng-us", "dog", ("dɔɡ", "dɒɡ"), "dɒɡ"),
    "w2": ("fra", "chat", ("ʃa",), "ʃat"),
}
"""Item: language, word, gold pronunciations, what both sides answer."""


def ids(text: str) -> list[int]:
    return [byte + 3 for byte in text.encode()] + [1]


def sample(item: str, phase: Phase, repetition: int, total_ns: int) -> Sample:
    text = WORDS[item][3]
    return Sample(
        record="sample",
        workload="g2p",
        items=[item],
        phase=phase,
        repetition=repetition,
        total_ns=total_ns,
        parts={"encoder": [total_ns // 4], "prefill": [total_ns // 8], "step": [total_ns // 16] * 4},
        outputs=[Output(token_ids=ids(text), text=text)],
    )


def header(order_id: str) -> Header:
    return Header.model_validate(
        {
            "record": "header",
            "schema_version": 2,
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


def word_facts(sha256: str) -> WorkloadFacts:
    return WorkloadFacts(
        kind="generation",
        source="g2p",
        label="embedded",
        weights_sha256="1" * 64,
        items=3,
        unit="word",
        items_source="default",
        items_sha256=sha256,
        subsets=["eng-us", "fra"],
        compare="tokens",
    )


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
    policy: TolerancePolicy = EXACT,
    emulated: bool = False,
    knobs: tuple[Knob, ...] = (),
    before: dict[str, Any] | None = None,
    after: dict[str, Any] | None = None,
    observed: dict[str, Any] | None = None,
    gate: GateFacts | None = None,
    generation: bool = True,
    models: Sequence[MadeModel] = (),
    git: Git | None = GIT,
    apart: bool = False,
    noise: float = 0.02,
    others: float | None = 0.0,
) -> Run:
    """A stored run of a made-up cache variant: 3 words, 5 timed repetitions, ``wrong`` words mismatched.

    Without ``generation`` it is of tensor workloads alone. PyTorch takes twice as long for the words, in 4 rounds of
    turns that differ by ``noise`` while ``others`` cores are busy; with ``apart`` its times are as runs of before have
    them.
    """
    rng = random.Random(seed)
    writer = Store(root).create(
        git=git,
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
        policy=policy,
        workloads=({"g2p": word_facts(words_sha256)} if generation else {}) | model_facts(models),
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
    order = OrderEntry(
        order_id="latency-cache-1",
        purpose="latency",
        workload="g2p",
        variant="cache",
        started=now(),
        conditions_before=before or {"load_1min": load, "battery": {"level": 90, "celsius": 28.5}},
        conditions_after=after or {"load_1min": load, "battery": {"level": 89, "celsius": 31.0}},
        knobs=list(knobs),
        observed=observed or {"clocks_mhz": [1800, 2400]},
    )
    if generation:
        _write_words(writer, order, rng, scale=scale, wrong=wrong, apart=apart)
        if not apart and not emulated:
            words = MadeModel("g2p", dict.fromkeys(WORDS, (int(scale * 1e6), 2_000_000)), noise=noise)
            take_turns(writer, words, rng, others=others)
    for model in models:
        scaled = {
            item: (int(scale * ours), None if emulated else theirs) for item, (ours, theirs) in model.items.items()
        }
        write_model(writer, replace(model, items=scaled), rng, repeat=5, apart=apart, others=others)
    if ended:
        ends = {"ended": now(), "complete": complete, "reason": None if complete else "killed by SIGKILL"}
        if generation:
            writer.end_order(order.model_copy(update=ends))
        run = Run(writer.folder)
        status = RunStatus.COMPLETE if complete else RunStatus.INCOMPLETE
        reason = None if complete else "the latency order of cache was killed by SIGKILL"
        manifest = writer.manifest.model_copy(update={"status": status, "reason": reason})
        writer.summary(summarize_files(manifest, run))
        writer.finish(status, reason)
    writer.close()
    return Run(writer.folder)


def _write_words(
    writer: RunWriter, order: OrderEntry, rng: random.Random, *, scale: float, wrong: tuple[str, ...], apart: bool
) -> None:
    """The lines of the words' reference, parity and latency order, which does not end here."""
    writer.reference(
        ReferenceLine(
            workload="g2p",
            item=item,
            subset=language,
            label=word,
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
        answer = "x" + text if item in wrong else text
        wanted, got = (Decoded(tuple(ids(t)), t, (2.0,) * len(ids(t))) for t in (text, answer))
        asked = WorkItem(id=item, workload="g2p", input="", label=word, subset=language)
        row = compare_decodings(asked, wanted, [got])
        parity.append(ParityLine(**row.model_dump(), variant="cache"))
    writer.parity(parity)
    writer.begin_order(order, make_order(order_id=order.order_id))
    lines: list[AnyRecord] = [
        header(order.order_id),
        Load(record="load", workload="g2p", function="encoder", load_ns=30_000_000),
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
        writer.sample(SampleLine(order=order.order_id, record=record))
