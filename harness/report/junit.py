"""Write a nightly run as JUnit XML, which CI services show: a suite for each unit, a case for each cell and limit."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from junitparser import Error, Failure, JUnitXml, Properties, Property, Skipped, SystemOut, TestCase, TestSuite

from harness.core.text import shown
from harness.measure import LATENCY
from harness.report.nightly import drift_text, headline
from harness.results.nightly import CellFacts, LimitFacts, NightlyRecord, SessionFacts, UnitFacts, Verdicts

_FIGURES = ("change", "change_low", "change_high", "detectable", "noise", "pairs", "p")
_LIMIT_FIGURES = ("a", "b", "change", "allowed")


def nightly_junit(record: NightlyRecord) -> str:
    """Return the JUnit XML of a nightly run.

    A fail is a failure. An undecided case is an error, as for infrastructure. A warning is text of a case. A nightly
    run that was not judged is one case with an error.
    """
    document = JUnitXml(f"nightly run {record.night_id}")
    if record.verdicts is None:
        case = TestCase("nightly run", classname="harness.regression.nightly")
        case.result = [Error("the nightly run has not ended")]
        suite = TestSuite(f"nightly run {record.night_id}")
        suite.add_testcase(case)
        document.add_testsuite(suite)
    else:
        for unit in record.verdicts.units:
            document.add_testsuite(_suite(record, record.verdicts, unit))
    document.update_statistics()
    text: bytes = document.tostring()
    return text.decode()


def _suite(record: NightlyRecord, verdicts: Verdicts, unit: UnitFacts) -> TestSuite:
    suite = TestSuite(unit.unit)
    suite.timestamp = datetime.fromisoformat(record.plan.started.replace("Z", "+00:00")).isoformat(timespec="seconds")
    facts = {
        "harness.night_id": record.night_id,
        "harness.baseline": verdicts.baseline,
        "harness.verdict": verdicts.verdict,
        "harness.headline": headline(verdicts),
        "harness.device": unit.device,
        "harness.model": unit.model,
        "harness.variant": unit.variant,
    }
    if record.slowed:
        facts["harness.slowed_on_purpose_percent"] = f"{record.slowed:g}"
    for name, value in facts.items():
        suite.add_property(name, shown(value))
    for cell in unit.cells:
        suite.add_testcase(_cell(verdicts, unit, cell))
    for limit in unit.limits:
        suite.add_testcase(_with_figures(_case(unit, limit), limit, _LIMIT_FIGURES))
    return suite


def _case(unit: UnitFacts, found: CellFacts | LimitFacts) -> TestCase:
    case = TestCase(found.metric, classname=f"harness.regression.nightly.{shown(unit.unit)}", time=0)
    cause = shown(found.cause or found.verdict)
    if found.verdict == "fail":
        case.result = [Failure(cause)]
    elif found.verdict == "inconclusive":
        # The nightly run's verdict does not depend on a part that could not be judged.
        part = isinstance(found, CellFacts) and found.metric != LATENCY
        case.result = [Skipped(cause) if part else Error(cause)]
    elif found.verdict == "warn":
        case.append(_output(f"warning: {cause}"))
    return case


def _cell(verdicts: Verdicts, unit: UnitFacts, cell: CellFacts) -> TestCase:
    case = _with_figures(_case(unit, cell), cell.first, _FIGURES)
    for drift in verdicts.drifts:
        if (drift.device, drift.variant, drift.metric) == (unit.device, unit.variant, cell.metric):
            case.append(_output(shown(drift_text(drift))))
    return case


def _with_figures(case: TestCase, found: SessionFacts | LimitFacts, names: Sequence[str]) -> TestCase:
    properties = Properties()
    for name in names:
        if (value := getattr(found, name)) is not None:
            properties.add_property(Property(f"harness.{name}", str(value)))
    case.append(properties)
    return case


def _output(text: str) -> SystemOut:
    output = SystemOut()
    output.text = text
    return output
