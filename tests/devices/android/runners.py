"""Runners in the device's own shell language, which behave well or badly.

A runner is written for one order: its records stand in it. It handles ``--stream`` and what an order skips.
"""

from __future__ import annotations

import json
import os
import shlex
from pathlib import Path
from typing import Any

from harness.conformance.fake_runners import ARCHIVE
from harness.protocol.schema import WorkOrder

LAUNCHER = ("/system/bin/sh",)

PRELUDE = r"""
complain() { print -r -- "$1" >&2; }
write() { print -r -- "$1"; }
leave() { exit "$1"; }
crash() { kill "-$1" $$; stay; }
stay() { trap '' HUP TERM; while :; do sleep 600; done; }
family() {
  { setsid sleep 602 & sleep 603 & } >/dev/null 2>&1
  [ -z "$1" ] || (cd /; exec sleep 601) >/dev/null 2>&1 &
}
noise() {
  left=$1
  while [ "$left" -gt 0 ]; do
    head -c 1048576 /dev/zero; head -c 1048576 /dev/zero >&2
    left=$((left - 1))
  done
  echo
}
flood() { exec cat /dev/zero; }
if [ "$1" = --describe ]; then
  DESCRIBING
  echo '{"runner_version": "0.1", "archive_sha256": "ARCHIVE", "arch": "x", "os": "y", "prefixes": ["g2p_"]}'
  exit 0
fi
while [ $# -gt 0 ]; do
  case $1 in --order) order=$2 ;; --result) result=$2 ;; --stream) stream=yes ;; esac
  shift
done
read -r text < "$order"
number() { value=${text#*\"$1\":}; echo "${value%%[!0-9]*}"; }
skip=$(number skip_samples) skip_probes=$(number skip_probes)
put() {
  print -r -- "$1" >> "$result" || exit 9
  [ -z "$stream" ] || print -r -- "$1"
}
line() { put "$1"; }
raw() {
  rest=$1
  while [ -n "$rest" ]; do
    printf "\\x${rest%"${rest#??}"}" >> "$result"
    rest=${rest#??}
  done
}
drop() { rm -f "$result"; }
slow() { pause=$1; }
stuck() { stuck_at=" $* "; }
samples=0 probes=0 first=yes
take() {
  samples=$((samples + 1))
  [ "$samples" -le "$skip" ] && return
  phase=$1
  [ -n "$first" ] && phase=first
  first=
  put "${2/@PHASE@/$phase}"
  case $stuck_at in *" $samples "*) stay ;; esac
  [ -n "$pause" ] && sleep "$pause"
}
take_probe() { probes=$((probes + 1)); [ "$probes" -le "$skip_probes" ] || put "$1"; }
end() { put "{\"record\": \"end\", \"order_id\": \"$id\", \"status\": \"ok\", \"samples\": $samples}"; }
everything() { header; load; passes; memory; probe; end; }
"""


def write_runner(
    folder: Path,
    order: WorkOrder,
    body: str = "everything",
    name: str = "runner",
    *,
    describing: str = ":",
    padding: int = 0,
) -> Path:
    """Write a runner for ``order`` whose behaviour is the shell text ``body``.

    ``padding`` are bytes behind its end that cannot be compressed.
    """
    path = folder / name
    prelude = PRELUDE.replace("ARCHIVE", ARCHIVE).replace("DESCRIBING", describing)
    path.write_text("\n".join([prelude, *_functions(order), body, ""]))
    if padding:
        with path.open("ab") as file:
            file.write(b"exit\n" + os.urandom(padding))
    path.chmod(0o755)
    return path


def _functions(order: WorkOrder) -> list[str]:
    header = {
        "record": "header",
        "schema_version": 2,
        "order_id": order.order_id,
        "runner_version": "0.1",
        "archive_sha256": order.archive_sha256,
        "os": "android",
        "arch": "aarch64",
        "cpu": {"model": "fake", "cores": 1, "features": []},
        "threads": order.threads,
        "pid": 1,
        "started_unix_ns": 1,
    }
    workload = order.workloads[0]
    load = {"record": "load", "workload": workload.name, "load_ns": 1000}
    loads = [{**load, "function": name} for name in workload.functions]
    samples = [
        f"take {phase} {_quoted(_sample(item.id, item.label, repetition))}"
        for phase, count in (("warmup", order.warmup), ("timed", order.repetitions))
        for repetition in range(count)
        for item in order.items
    ]
    probe = {"record": "probe", "workload": workload.name}
    probes = [
        f"take_probe {_quoted({**probe, 'items': [item.id], 'outputs': [_output(item.label)]})}"
        for item in (order.items if order.probe else [])
    ]
    return [
        f"id={order.order_id}",
        _function("header", [f"put {_quoted(header)}"]),
        _function("load", [f"put {_quoted(load)}" for load in loads]),
        _function("passes", samples),
        _function("memory", [f"put {_quoted({'record': 'memory', 'peak_bytes': 4096})}"]),
        _function("probe", probes),
    ]


def _function(name: str, lines: list[str]) -> str:
    return "\n".join([f"{name}() {{", *(lines or [":"]), "}"])


def _sample(item: str, word: str, repetition: int) -> dict[str, Any]:
    return {
        "record": "sample",
        "workload": "g2p",
        "items": [item],
        "phase": "@PHASE@",
        "repetition": repetition,
        "total_ns": 5000,
        "parts": {"encoder": [1000], "prefill": [500], "step": [700, 700]},
        "outputs": [_output(word)],
    }


def _output(word: str) -> dict[str, Any]:
    return {"token_ids": [byte + 3 for byte in word.encode()] + [1], "text": word}


def _quoted(record: dict[str, Any]) -> str:
    return shlex.quote(json.dumps(record))
