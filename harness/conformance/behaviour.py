"""What a runner of a scenario does, in words that the runners of every kind understand.

A behaviour is a line such as ``header; load; complain 'out of luck'; leave 1``: calls with their arguments, separated
by semicolons and quoted as in a shell. A runner in Python or in a device's own shell language has a function for each:

========================  ==========================================================================================
``header`` ``load`` ``memory`` ``probe`` ``end``   write these records of the order
``passes``                the samples, behind those that the order skips
``everything``            all of them in their order, a whole result
``line TEXT``             writes a line of the result as it is, as a record
``raw HEX``               writes bytes into the result file alone, and no line's end
``drop``                  removes the result file
``complain TEXT``         prints to stderr; ``write TEXT`` to stdout
``noise MEBIBYTES``       prints so much to both; ``flood`` prints without end
``slow SECONDS``          sleeps so long after each sample from now on
``stuck NUMBER …``        hangs after these samples, counted from 1
``stay``                  hangs, and ignores the signal to end
``family``                starts a process that outlives it, where the kind's programs can; ``family afar`` one that
                          works in another folder
``leave STATUS``          exits; ``crash NAME`` ends itself by the signal, such as SEGV
========================  ==========================================================================================

Runners in Python also know ``thermal STATE``, ``rest SECONDS``, ``chat`` (print while staying) and ``swell`` (write
blank lines without end).
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable
from typing import Any

from harness.protocol.schema import WorkOrder

EVERYTHING = "everything"
STUCK = "stuck {}; header; load; passes; memory; probe; end"
"""Comes to its end only if it begins behind these samples: when it is interrupted does not depend on the clock."""
AT_3 = STUCK.format(3)
FOREVER = "header; load; slow 0.1; passes; stay"


def calls(behaviour: str) -> list[list[str]]:
    """Take a behaviour apart into calls, each a name with its arguments."""
    words = shlex.shlex(behaviour, posix=True, punctuation_chars=";")
    words.whitespace_split = True
    words.commenters = ""
    found: list[list[str]] = [[]]
    for word in words:
        if word == ";":
            found.append([])
        else:
            found[-1].append(word)
    return [call for call in found if call]


def python(behaviour: str) -> str:
    """Return the behaviour as Python."""
    return "\n".join(f"{name}({', '.join(map(repr, arguments))})" for name, *arguments in calls(behaviour))


def shell(behaviour: str) -> str:
    """Return the behaviour in a shell's language."""
    return "\n".join(shlex.join(call) for call in calls(behaviour))


def line(record: dict[str, Any]) -> str:
    """Return the call that writes this record."""
    return shlex.join(["line", json.dumps(record)])


def raw(text: str | bytes) -> str:
    """Return the call that writes this into the result file."""
    return f"raw {(text.encode() if isinstance(text, str) else text).hex()}"


def header(order: WorkOrder, **changes: Any) -> dict[str, Any]:
    """Return the header that a well-behaved runner writes, but for the changes."""
    return {
        "record": "header", "schema_version": 2, "order_id": order.order_id, "runner_version": "0.1",
        "archive_sha256": order.archive_sha256, "os": "linux", "arch": "x86_64", "threads": 1, "pid": 1,
        "cpu": {"model": "fake", "cores": 1, "features": []}, "started_unix_ns": 1, **changes,
    }  # fmt: skip


def end(order: WorkOrder, samples: int, **changes: Any) -> dict[str, Any]:
    """Return the end record of a run with so many samples, but for the changes."""
    return {"record": "end", "order_id": order.order_id, "status": "ok", "samples": samples, **changes}


def sample(item: str, **changes: Any) -> dict[str, Any]:
    """Return the first sample of an item, but for the changes."""
    outputs = [{"token_ids": [1], "text": ""}]
    return {
        "record": "sample", "workload": "g2p", "items": [item], "phase": "first", "repetition": 0, "total_ns": 5000,
        "parts": {"encoder": [1000], "prefill": [500], "step": [700, 700]}, "outputs": outputs, **changes,
    }  # fmt: skip


Written = Callable[[WorkOrder], str]
"""A behaviour that needs its order's own words."""
