"""The trace is of Chrome's format, and its events nest as the calls do."""

from __future__ import annotations

import json
from typing import Any

from harness.profiling.trace import chrome_trace
from tests.profiling.profiles import PROVENANCE, STEPS, lines

LEVELS = {"sample": 0, "function": 1, "kernel": 2}


def trace() -> dict[str, Any]:
    words = {"w0": "Häuser (ger)", "w1": "<b>"}
    found: dict[str, Any] = json.loads(json.dumps(chrome_trace(lines(), PROVENANCE, words, "host, run 1")))
    return found


def test_every_event_has_what_the_format_asks_for() -> None:
    found = trace()
    assert found["displayTimeUnit"] in ("ms", "ns")
    for event in found["traceEvents"]:
        assert {"name", "ph", "pid", "tid", "args"} <= event.keys()
        assert isinstance(event["name"], str)
        assert isinstance(event["args"], dict)
        if event["ph"] == "X":
            assert event["ts"] >= 0
            assert event["dur"] >= 0
        else:
            assert event["ph"] == "M"
            assert event["name"] in ("process_name", "thread_name")
            assert event["args"]["name"]


def test_kernels_lie_in_functions_and_functions_in_samples() -> None:
    events = [event for event in trace()["traceEvents"] if event["ph"] == "X"]
    assert [event["name"] for event in events if event["cat"] == "sample"] == ["Häuser (ger)", "<b>"]
    assert sum(event["cat"] == "function" for event in events) == 2 * (1 + STEPS)
    assert sum(event["cat"] == "kernel" for event in events) == 2 * (2 + 2 * STEPS)
    around: list[tuple[float, float]] = []
    for event in events:
        around = around[: LEVELS[event["cat"]]]
        begin, end = event["ts"], event["ts"] + event["dur"]
        if around:
            assert around[-1][0] - 1e-6 <= begin
            assert end <= around[-1][1] + 1e-6
        around.append((begin, end))
    samples = [event for event in events if event["cat"] == "sample"]
    assert samples[0]["ts"] + samples[0]["dur"] <= samples[1]["ts"]
    kernel = next(event for event in events if event["name"] == "linear view")
    assert kernel["args"] == {
        "module": "layers.0",
        "kernel": "product",
        "nodes": "linear view",
        "bytes": 4000,
        "flops": 2000,
    }
