"""Report one run: the verdict, then its basis."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from harness.devices.workstation import web_address
from harness.report.conditions import order_warnings
from harness.report.document import Block, Heading, Line, Table, Tone
from harness.report.figures import DASH, megabytes, plain
from harness.report.generation import count, generation_text
from harness.report.reproduce import reproduction, reproduction_doubt
from harness.report.rounding import rounding_blocks
from harness.report.sections import ReportSection, section_blocks
from harness.report.tensor import tensor_text
from harness.results.schema import Manifest, RunStatus, RunVerdict, Summary, WorkloadFacts
from harness.results.widening import widening_text

TONES = {RunVerdict.PASS: Tone.GOOD, RunVerdict.FAIL: Tone.BAD, RunVerdict.INCONCLUSIVE: Tone.UNSURE}


def run_report(manifest: Manifest, summary: Summary) -> list[Block]:
    """Blocks of one run; works for incomplete runs with what they have."""
    return [*_head(manifest, summary), *section_blocks(manifest, summary)]


def verdict_text(manifest: Manifest, summary: Summary) -> str:
    """Return one line with the verdict and the main figures; an emulator's times are labelled."""
    parts = [summary.verdict.value.upper(), *generation_text(manifest, summary), *tensor_text(manifest, summary)]
    return "  ·  ".join(parts)


def _head(manifest: Manifest, summary: Summary) -> Iterator[Block]:
    yield Heading(f"Run {manifest.run_id}")
    yield Line(verdict_text(manifest, summary), TONES[summary.verdict])
    for reason in summary.reasons:
        yield Line(reason, TONES[summary.verdict])
    if wide := widening_text(manifest, summary):
        yield Line(wide, Tone.UNSURE)
    if manifest.status is not RunStatus.COMPLETE:
        yield Line(f"status {manifest.status.value}: {manifest.reason}", Tone.UNSURE)
    device = manifest.device
    for warning in latency_warnings(manifest):
        yield Line(warning, Tone.UNSURE)
    load, cores = _busiest(manifest), device.get("cores")
    if load is not None and cores and load > cores:
        yield Line(f"the machine was busy (load {load} on {cores} cores): the times include waiting", Tone.UNSURE)
    run = ", ".join(facts.label for facts in manifest.workloads.values()) or "no model yet"
    yield Line(f"{run} on {device.get('kind', '?')} {device.get('cpu_model', '')}{_items(manifest)}")


def _items(manifest: Manifest) -> str:
    """Return a description of the run's items that came from a list of their own."""
    return "".join(
        f", {count(facts.items, facts.items_of)} {facts.unit}s{_languages(facts.subsets)} ({facts.items_source})"
        for facts in manifest.workloads.values()
        if facts.items_source
    )


def _languages(subsets: Sequence[str]) -> str:
    """Return how many languages items belong to; nothing for items that belong to none."""
    return f" of {len(subsets)} languages" if subsets else ""


def latency_warnings(manifest: Manifest) -> list[str]:
    """Return what was throttled, denied, lost or left behind during timing, a sentence each."""
    warnings = (warning for order in manifest.orders if order.purpose == "latency" for warning in order_warnings(order))
    return list(dict.fromkeys(warnings))


def _gate(manifest: Manifest, _summary: Summary) -> Iterator[Block]:
    gate = manifest.gate
    if gate is None:
        return
    tone = {"pass": Tone.GOOD, "fail": Tone.BAD}.get(gate.verdict, Tone.UNSURE)
    yield Heading(f"Beside baseline {gate.baseline}")
    yield Line(f"{gate.verdict.upper()}: harness nights {gate.night_id}", tone)
    for cause in gate.causes:
        yield Line(cause, tone)


def _conditions(manifest: Manifest, _summary: Summary) -> Iterator[Block]:
    """Report what the device was like before and after the timing, what was set on it, and what it showed meanwhile."""
    for order in manifest.orders:
        if order.purpose != "latency" or not order.knobs:
            continue
        before, after = order.conditions_before, order.conditions_after
        shown = {key: (before.get(key), after.get(key)) for key in [*before, *(k for k in after if k not in before)]}
        yield Heading("Conditions while it was timed")
        if order.resumed:
            yield Line("the device was lost once and came back: the order resumed where it had stopped", Tone.UNSURE)
        rows = [[key.replace("_", " "), *(plain(value) for value in pair)] for key, pair in shown.items()]
        rows += [[key.replace("_", " "), plain(value), ""] for key, value in order.observed.items()]
        yield Table(["", "before", "after"], rows, numbers=False)
        knobs = [
            [knob.name, knob.state, knob.detail, {True: "restored", False: "NOT restored", None: ""}[knob.restored]]
            for knob in order.knobs
        ]
        yield Table(["setting", "state", "what", "afterwards"], knobs, numbers=False)


def _model(name: str, facts: WorkloadFacts) -> str:
    parts = [
        facts.label if facts.label != name else "",
        f"{facts.parameters:,} parameters" if facts.parameters is not None else "",
        f"weights {facts.weights_sha256[:12]}",
        facts.source if facts.source != name else "",
    ]
    return ", ".join(part for part in parts if part)


def _facts(manifest: Manifest, _summary: Summary) -> Iterator[Block]:
    device = manifest.device
    generations = bool(manifest.alike)
    rows = [
        ["device", f"{device.get('name', '?')}: {device.get('cpu_model') or '?'}, {device.get('cores') or '?'} cores"],
        ["memory", megabytes(device.get("memory_bytes"))],
        ["governor", str(device.get("governor") or "not readable")],
        ["system", f"{device.get('os') or '?'}, {device.get('kernel') or '?'}"],
        ["load", _load(manifest)],
        *(
            [
                f"{name} variant" if len(manifest.variants) > 1 or generations else "runner",
                f"{facts.target}, archive {facts.archive_sha256[:12]} ({megabytes(facts.archive_bytes)})"
                + (
                    f", runner {facts.runner_sha256[:12]} ({megabytes(facts.runner_bytes)})"
                    if facts.has_runner
                    else ", inside an app"
                ),
            ]
            for name, facts in manifest.variants.items()
        ),
        *([f"model {name}", _model(name, facts)] for name, facts in manifest.workloads.items()),
        ["source", _source(manifest)],
        ["options", ", ".join(f"{key}={value}" for key, value in manifest.options.items() if value is not None)],
        ["versions", ", ".join(f"{name} {version}" for name, version in manifest.versions.items())],
        ["make it again", reproduction(manifest) or DASH],
        *([["caution", doubt]] if (doubt := reproduction_doubt(manifest)) else []),
        ["time", f"{manifest.started} to {manifest.ended or '?'}"],
    ]
    yield from rounding_blocks(manifest)
    yield Heading("Facts")
    yield Table(["", ""], rows, numbers=False)


def _source(manifest: Manifest) -> str:
    git = manifest.git
    if git is None:
        return "not a git checkout"
    repository = web_address(git.repository or "")
    of = f" of {repository}" if repository else ""
    return f"{git.commit[:12]}{of}{' with changes' if git.dirty else ''}"


def _busiest(manifest: Manifest) -> float | None:
    """Return the highest one-minute load before a latency order; None if it is not known."""
    loads = [order.conditions_before.get("load_1min") for order in manifest.orders if order.purpose == "latency"]
    return max((load for load in loads if load is not None), default=None)


def _load(manifest: Manifest) -> str:
    load = _busiest(manifest)
    return DASH if load is None else f"{load} (1 minute, before the latency run)"


GATE = ReportSection(50, _gate)
CONDITIONS = ReportSection(60, _conditions)
FACTS = ReportSection(90, _facts)
