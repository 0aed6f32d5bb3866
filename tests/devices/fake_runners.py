"""Small real programs that behave as a runner may: well, or badly. Each is a script given order and result."""

from __future__ import annotations

import sys
from pathlib import Path

from harness.models.g2p.items import word_item
from harness.protocol.schema import GenerationWorkload, RecordOptions, WorkOrder

ARCHIVE = "ab" * 32

PRELUDE = """#!{python}
import json, os, signal, subprocess, sys, time

if sys.argv[1:] == ["--describe"]:
    print(json.dumps({{"runner_version": "0.1", "archive_sha256": "{archive}", "arch": "x", "os": "y",
                       "prefixes": ["g2p_"]}}))
    sys.exit(0)
order = json.load(open(sys.argv[sys.argv.index("--order") + 1]))
result = open(sys.argv[sys.argv.index("--result") + 1], "w")

def put(**record):
    result.write(json.dumps(record) + "\\n")
    result.flush()

def header(**changes):
    put(**{{"record": "header", "schema_version": 2, "order_id": order["order_id"], "runner_version": "0.1",
        "archive_sha256": order["archive_sha256"], "os": "linux", "arch": "x86_64",
        "cpu": {{"model": "fake", "cores": 1, "features": []}}, "threads": 1, "pid": os.getpid(),
        "started_unix_ns": time.time_ns()}} | changes)

def load():
    for function in order["workloads"][0]["functions"]:
        put(record="load", workload="g2p", function=function, load_ns=1000)

def output(item):
    return {{"token_ids": [byte + 3 for byte in item["label"].encode()] + [1], "text": item["label"]}}

samples = 0
def sample(item, phase, repetition):
    global samples
    samples += 1
    put(record="sample", workload="g2p", items=[item["id"]], phase=phase, repetition=repetition,
        total_ns=5000 + samples, parts={{"encoder": [1000], "prefill": [500], "step": [700, 700]}},
        outputs=[output(item)])

def passes():
    first = True
    for phase, count in (("warmup", order["warmup"]), ("timed", order["repetitions"])):
        for repetition in range(count):
            for item in order["items"]:
                sample(item, "first" if first else phase, repetition)
                first = False

def probe():
    if order["probe"]:
        for item in order["items"]:
            out = output(item)
            out["margins"] = [2.5] * len(out["token_ids"])
            put(record="probe", workload="g2p", items=[item["id"]], outputs=[out])

def end(status="ok", **changes):
    put(**{{"record": "end", "order_id": order["order_id"], "status": status, "samples": samples}} | changes)

def everything():
    header(); load(); passes(); put(record="memory", peak_bytes=4096); probe(); end()
"""


def write_runner(folder: Path, body: str, name: str = "runner") -> Path:
    """An executable whose behaviour is ``body``."""
    path = folder / name
    path.write_text(PRELUDE.format(python=sys.executable, archive=ARCHIVE) + body + "\n")
    path.chmod(0o755)
    return path


def make_order(
    words: tuple[str, ...] = ("one", "two"),
    *,
    warmup: int = 1,
    repetitions: int = 2,
    probe: bool = True,
    order_id: str = "order-1",
) -> WorkOrder:
    model = GenerationWorkload(
        name="g2p",
        functions={
            "encoder": "g2p_encoder_",
            "decoder_prefill": "g2p_decoder_prefill_",
            "decoder_step": "g2p_decoder_step_",
        },
        use_kv_cache=True,
        batch_size=1,
        max_input_bytes=64,
        max_output_len=128,
        vocab_size=384,
        self_cache_shape=[2, 2, 1, 128, 64],
    )
    return WorkOrder(
        order_id=order_id,
        archive_sha256=ARCHIVE,
        workloads=[model],
        items=[word_item(f"w{at}", "eng-us", word) for at, word in enumerate(words)],
        warmup=warmup,
        repetitions=repetitions,
        probe=RecordOptions(margins=True) if probe else None,
    )
