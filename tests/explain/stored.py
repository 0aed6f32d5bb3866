"""Runs as a run folder holds them, without having been made."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from harness.explain.bundle import KEPT
from harness.explain.run import file_name
from harness.explain.schema import FOLDER
from harness.models.g2p.checkpoints import Checkpoint
from harness.results import ParityLine, ReferenceLine, Run, Store, WorkloadFacts
from harness.validate import Verdict

MOST_TOKENS = 16


def stored(folder: Path, checkpoint: Checkpoint, *verdicts: Verdict, variant: str = "cacheless", **options: Any) -> Run:
    """A run of words with these verdicts, and the files of an explanation of the last one."""
    facts = WorkloadFacts(
        kind="generation",
        source="g2p",
        label=checkpoint.label,
        weights_sha256=checkpoint.sha256,
        items=len(verdicts),
        unit="word",
        compare="tokens",
    )
    options = {
        "checkpoint": checkpoint.label,
        "device": "host",
        "words": None,
        "models": [],
        "max_output_len": MOST_TOKENS,
        **options,
    }
    with Store(folder).create(device={"name": "host"}, workloads={"g2p": facts}, options=options) as writer:
        items = [f"w{at}" for at in range(len(verdicts))]
        said: dict[str, Any] = {"token_ids": [5, 6, 1], "text": "x", "margins": [1.0, 2.0, 3.0], "latency_ns": []}
        writer.reference(
            ReferenceLine(workload="g2p", item=item, subset="ger", label=f"wort{item}", **said) for item in items
        )
        writer.parity(
            ParityLine(
                workload="g2p",
                variant=variant,
                item=item,
                subset="ger",
                label="wort",
                verdict=verdict,
                expected="x",
                got="y",
                step=1 if verdict in (Verdict.MISMATCH, Verdict.TIE) else None,
            )
            for item, verdict in zip(items, verdicts, strict=True)
        )
    kept = writer.folder / FOLDER
    kept.mkdir()
    for suffix in KEPT:
        (kept / file_name(items[-1], suffix)).write_text("{}")
    return Run(writer.folder)
