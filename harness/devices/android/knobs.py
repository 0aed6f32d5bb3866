"""Parse the outcome of the settings that a run changes, from the output of ``apply.sh`` and of its undoing."""

from __future__ import annotations

import re
from typing import Literal

from harness.devices.android.sections import cores_of, last_line, ranges_of, sections
from harness.devices.android.topology import cores_of_mask
from harness.devices.base import Knob

PINNED, FIXED_PERFORMANCE, STAY_AWAKE, SCREEN = "pinned", "fixed_performance", "stay_awake", "screen"
ALL_KNOBS = (PINNED, FIXED_PERFORMANCE, STAY_AWAKE, SCREEN)
STAY_AWAKE_ON_ANY_POWER = "7"

_WAKEFULNESS = {"0": "Asleep", "1": "Awake", "2": "Dreaming", "3": "Dozing"}
"""The names for the numbers that some makers' power service reports."""

_REFUSED = re.compile(
    "SecurityException|Permission denied|Operation not permitted|not allowed|does not have permission"
    "|requires .*permission",
    re.IGNORECASE,
)
_UNKNOWN = re.compile(
    "Can't find service|Unknown command|not found|inaccessible|No shell command implementation|Invalid argument"
    "|unsupported|not supported|not implemented|Failed to set FIXED_PERFORMANCE mode",
    re.IGNORECASE,
)


def parse_knobs(text: str, mask: str) -> list[Knob]:
    """Return the knobs that ``apply.sh`` applied, in its order."""
    found = sections(text, "@")
    make = {
        PINNED: lambda output: _pinned(output, mask),
        FIXED_PERFORMANCE: lambda output: _outcome(FIXED_PERFORMANCE, output, "on"),
        STAY_AWAKE: _stay_awake,
        SCREEN: _screen,
    }
    return [make[name](output) for name, output in found.items() if name in make]


def restored(knobs: list[Knob], text: str) -> list[Knob]:
    """Return the knobs with the results of the file ``restore`` for those that had been changed."""
    found = sections(text, "@")
    return [_restored(knob, found.get(knob.name)) for knob in knobs]


def verified(knobs: list[Knob], allowed: str) -> list[Knob]:
    """Return the knobs with the pinning checked by the running runner's own status, ``Cpus_allowed_list: 4-7``."""
    cores = last_line(allowed).partition(":")[2].strip()
    return [_verified(knob, cores) if knob.name == PINNED and knob.state == "applied" else knob for knob in knobs]


def _pinned(output: str, mask: str) -> Knob:
    if not mask:
        return Knob(
            name=PINNED, state="unsupported", detail="the cores are alike, or the device does not distinguish them"
        )
    return _outcome(PINNED, output, f"cores {ranges_of(cores_of_mask(mask))}")


def _verified(knob: Knob, cores: str) -> Knob:
    wanted = knob.detail.removeprefix("cores ")
    if not cores:
        return knob.model_copy(update={"detail": f"{knob.detail}, not verified: the runner's status could not be read"})
    if cores_of(cores) == cores_of(wanted):
        return knob.model_copy(update={"detail": f"{knob.detail}, verified"})
    return knob.model_copy(update={"state": "denied", "detail": f"asked for cores {wanted}, the runner had {cores}"})


def is_refusal(words: str) -> bool:
    """Return whether the system's message means that adb may not make the change."""
    return bool(_REFUSED.search(words))


def _stay_awake(output: str) -> Knob:
    if not _value(output, "before"):
        words = _words(output)
        state: Literal["denied", "unsupported"] = "denied" if is_refusal(words) else "unsupported"
        return Knob(name=STAY_AWAKE, state=state, detail=words or "the device does not report what it is now")
    knob = _outcome(STAY_AWAKE, output, f"was {_value(output, 'before')}")
    if knob.state == "applied" and _value(output, "now") != STAY_AWAKE_ON_ANY_POWER:
        return knob.model_copy(update={"state": "denied", "detail": f"set to 7, but is {_value(output, 'now')}"})
    return knob


def _screen(output: str) -> Knob:
    before = _value(output, "before")
    before = _WAKEFULNESS.get(before, before)
    if before == "Awake":
        return Knob(name=SCREEN, state="applied", detail="was on already")
    if not before:
        return Knob(name=SCREEN, state="unsupported", detail="the device does not report whether its screen is on")
    return _outcome(SCREEN, output, f"was {before}")


def _outcome(name: str, output: str, detail: str) -> Knob:
    """Return a knob's outcome. Commands may exit with 0 although they refused, so their messages count, too."""
    words = _words(output)
    status = _value(output, "status")
    if is_refusal(words):
        return Knob(name=name, state="denied", detail=words)
    if _UNKNOWN.search(words):
        return Knob(name=name, state="unsupported", detail=words)
    if status != "0":
        return Knob(name=name, state="denied", detail=words or f"exit status {status}")
    return Knob(name=name, state="applied", detail=detail)


def _words(output: str) -> str:
    """Return the commands' own messages on one line."""
    lines = [line for line in output.splitlines() if not line.startswith(("status ", "before ", "now "))]
    return " ".join(" ".join(lines).split())[:300]


def _restored(knob: Knob, output: str | None) -> Knob:
    changed = knob.name != PINNED and knob.state == "applied" and knob.detail != "was on already"
    if not changed:
        return knob
    if output is None:
        return knob.model_copy(
            update={"restored": False, "detail": f"{knob.detail}; nothing was heard of restoring it"}
        )
    outcome = _outcome(knob.name, output, "")
    # The current value of the setting follows the line `now`.
    now = last_line(output.partition("\nnow")[2])
    before = knob.detail.removeprefix("was ")
    if outcome.state == "applied" and (not now or now == before):
        return knob.model_copy(update={"restored": True})
    why = outcome.detail or f"it is {now}"
    return knob.model_copy(update={"restored": False, "detail": f"{knob.detail}; not restored: {why}"})


def _value(output: str, name: str) -> str:
    match = re.search(rf"^{name} (.*)$", output, re.MULTILINE)
    return match[1].strip() if match else ""
