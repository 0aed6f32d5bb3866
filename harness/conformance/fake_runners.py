"""Small real programs that behave as a runner may: well, or badly. Each is a script given order and result."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from harness.models.g2p.items import word_item
from harness.protocol.schema import GenerationWorkload, RecordOptions, WorkOrder

ARCHIVE = "ab" * 32

PRELUDE = """#!{interpreter}
import json, os, signal, subprocess, sys, time

samples, pause, stuck_at, chatty, echo = 0, 0.0, (), False, False

def put(**record):
    line(json.dumps(record))

def line(text):
    result.write(text + "\\n")
    result.flush()
    if echo:
        print(text, flush=True)

def raw(hexadecimal):
    result.flush()
    result.buffer.write(bytes.fromhex(hexadecimal))
    result.flush()

def drop():
    os.unlink(result.name)

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

def sample(item, phase, repetition):
    global samples
    samples += 1
    put(record="sample", workload="g2p", items=[item["id"]], phase=phase, repetition=repetition,
        total_ns=5000 + samples, parts={{"encoder": [1000], "prefill": [500], "step": [700, 700]}},
        outputs=[output(item)])

def passes():
    global samples
    first = True
    for phase, count in (("warmup", order["warmup"]), ("timed", order["repetitions"])):
        for repetition in range(count):
            for item in order["items"]:
                if samples < order["skip_samples"]:
                    samples += 1
                    continue
                sample(item, "first" if first else phase, repetition)
                first = False
                if samples in stuck_at:
                    stay()
                time.sleep(pause)

def memory():
    put(record="memory", peak_bytes=4096)

def thermal(state):
    put(record="thermal", state=state, at_unix_ns=1)

def probe():
    if order["probe"]:
        for item in order["items"][order["skip_probes"]:]:
            out = output(item)
            out["margins"] = [2.5] * len(out["token_ids"])
            put(record="probe", workload="g2p", items=[item["id"]], outputs=[out])

def end(status="ok", **changes):
    put(**{{"record": "end", "order_id": order["order_id"], "status": status, "samples": samples}} | changes)

def everything():
    header(); load(); passes(); memory(); probe(); end()

def complain(text):
    print(text, file=sys.stderr, flush=True)

def write(text):
    print(text, flush=True)

def noise(mebibytes):
    for _ in range(int(mebibytes)):
        for stream in (sys.stdout, sys.stderr):
            stream.write("x" * 2**20 + "\\n")
            stream.flush()

def flood():
    while True:
        print("x" * 65536)

def rest(seconds):
    time.sleep(float(seconds))

def swell():
    while True:
        line(" " * 4096)

def slow(seconds):
    global pause
    pause = float(seconds)

def stuck(*numbers):
    global stuck_at
    stuck_at = [int(number) for number in numbers]

def chat():
    global chatty
    chatty = True

def stay():
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    for _ in range(12000):
        if chatty:
            write(".")
        time.sleep(0.05)

def family(where="."):
    subprocess.Popen(["sleep", "600"], cwd="/" if where == "afar" else where)

def leave(status):
    sys.exit(int(status))

def crash(name):
    os.kill(os.getpid(), getattr(signal, "SIG" + name))
    stay()

if sys.argv[1:] == ["--describe"]:
    {describing}
    print(json.dumps({{"runner_version": "0.1", "archive_sha256": "{archive}", "arch": "x", "os": "y",
                       "prefixes": ["g2p_"]}}))
    sys.exit(0)
{opening}
"""
OPENING = """
order = json.load(open(sys.argv[sys.argv.index("--order") + 1]))
result = open(sys.argv[sys.argv.index("--result") + 1], "w")
"""
"""What an ordinary runner does first: its order and its result are named on its command line."""


def python_runner(
    body: str, *, opening: str = OPENING, describing: str = "pass", interpreter: str = sys.executable
) -> str:
    """Return the text of a runner that does ``body``, and first ``describing`` when it is asked what it is."""
    filled = PRELUDE.format(
        interpreter=interpreter,
        archive=ARCHIVE,
        opening=opening,
        describing=describing.replace("\n", "\n    "),
    )
    return f"{filled}{body}\n"


def write_runner(folder: Path, body: str, name: str = "runner", *, describing: str = "pass", padding: int = 0) -> Path:
    """Write an executable whose behaviour is ``body``. ``padding`` are bytes behind it that cannot be compressed."""
    path = folder / name
    path.write_text(
        python_runner(body, describing=describing) + (f"#{os.urandom(padding // 2).hex()}\n" if padding else ""),
        encoding="utf-8",
    )
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
