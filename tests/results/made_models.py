"""Tensor workloads for the runs of tests.results.samples: their answers and times, made up."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from harness.conformance.fake_runners import make_order
from harness.devices import AnyRecord
from harness.protocol.schema import Load, Memory, Phase, Sample
from harness.results import OrderEntry, ParityLine, ReferenceLine, RunWriter, SampleLine, WorkloadFacts, now
from harness.results.schema import PairingFacts, PairLine, Passes
from harness.validate import Verdict
from harness.validate.comparison import Tolerances

COMPARISON = Tolerances(relative=1e-4, absolute=1e-6)


@dataclass(frozen=True)
class MadeModel:
    """``items`` are the usual times of both sides in nanoseconds: ours, and PyTorch's unless it was not timed."""

    name: str
    items: Mapping[str, tuple[int, int | None]]
    wrong: tuple[str, ...] = ()
    peak_bytes: int = 12_000_000
    noise: float = 0.02
    """How far the rounds of turns differ."""


BERT = MadeModel("bert", {"7 tokens": (1_000_000, 4_000_000), "101 tokens": (9_000_000, 12_000_000)})
DETECTOR = MadeModel("detector", {"street": (30_000_000, 45_000_000)}, peak_bytes=80_000_000)


def model_facts(models: Sequence[MadeModel]) -> dict[str, WorkloadFacts]:
    return {
        model.name: WorkloadFacts(
            kind="tensor",
            source=model.name,
            label=model.name,
            parameters=451,
            weights_sha256="2" * 64,
            items=len(model.items),
            compare=COMPARISON.describe(),
            comparison=COMPARISON,
        )
        for model in models
    }


def take_turns(writer: RunWriter, model: MadeModel, rng: random.Random, *, others: float | None) -> None:
    """Four rounds of all items that PyTorch is timed on; every other one is slower by the model's noise."""
    timed = {item: (ours, theirs) for item, (ours, theirs) in model.items.items() if theirs is not None}
    if not timed:
        return
    for number in range(4):
        shift = 1 + model.noise * (-1) ** number
        for at, (item, (ours, theirs)) in enumerate(timed.items()):
            writer.pair(
                PairLine(
                    workload=model.name,
                    item=item,
                    round=number,
                    first="artifact" if (at + number) % 2 == 0 else "pytorch",
                    artifact_ns=[int(ours * shift * rng.uniform(0.99, 1.01)) for _ in range(3)],
                    pytorch_ns=[int(theirs * rng.uniform(0.99, 1.01))],
                )
            )
    count = len(model.items)
    facts = PairingFacts(
        started=now(), items=len(timed), of=count, rounds=4, seconds=0.1, cores=2, others=others, steal=0.0
    )
    writer.end_pairs(model.name, facts)


def write_model(
    writer: RunWriter, model: MadeModel, rng: random.Random, *, repeat: int, apart: bool, others: float | None
) -> None:
    """The lines of its reference, its parity, its latency order and its turns."""
    compared: tuple[Passes, ...] = ("parity", "timed")
    writer.reference(
        ReferenceLine(
            workload=model.name,
            item=item,
            label=item,
            output_sha256="3" * 64,
            latency_ns=[int(pytorch * rng.uniform(0.9, 1.1)) for _ in range(repeat)] if pytorch and apart else [],
        )
        for item, (_, pytorch) in model.items.items()
    )
    writer.parity(
        ParityLine(
            workload=model.name,
            passes=passes,
            item=item,
            label=item,
            verdict=Verdict.MISMATCH if item in model.wrong else Verdict.EQUAL,
            detail="output differs by 0.25" if item in model.wrong else None,
            max_error=0.25 if item in model.wrong else 1e-7,
            relative_error=0.1 if item in model.wrong else 1e-8,
        )
        for passes in compared
        for item in model.items
    )
    entry = OrderEntry(
        order_id=f"latency-{model.name}-1",
        purpose="latency",
        workload=model.name,
        started=now(),
        conditions_before={"load_1min": 0.5},
        conditions_after={"load_1min": 0.5},
    )
    writer.begin_order(entry, make_order(order_id=entry.order_id))
    records: list[AnyRecord] = [Load(record="load", workload=model.name, function="main", load_ns=3_000_000)]
    passes = [(Phase.WARMUP, 0)] + [(Phase.TIMED, at) for at in range(repeat)]
    first = next(iter(model.items))
    records += [
        _sample(
            model.name,
            item,
            Phase.FIRST if (phase, item) == (Phase.WARMUP, first) else phase,
            at,
            int(ours * rng.uniform(0.9, 1.1)),
        )
        for phase, at in passes
        for item, (ours, _) in model.items.items()
    ]
    records.append(Memory(record="memory", peak_bytes=model.peak_bytes))
    for record in records:
        writer.sample(SampleLine(order=entry.order_id, record=record))
    writer.end_order(entry.model_copy(update={"ended": now(), "complete": True}))
    if not apart:
        take_turns(writer, model, rng, others=others)


def _sample(model: str, item: str, phase: Phase, repetition: int, total_ns: int) -> Sample:
    return Sample(
        record="sample",
        workload=model,
        items=[item],
        phase=phase,
        repetition=repetition,
        total_ns=total_ns,
        output_sha256="3" * 64,
    )
