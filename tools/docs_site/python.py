"""The reference of the Python interface: which names stand on which page; mkdocstrings writes about each."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

FOLDER = "reference/python"


@dataclass(frozen=True)
class Page:
    """Describe a page of names."""

    name: str
    title: str
    text: str
    names: tuple[str, ...]


PAGES = (
    Page(
        "tests",
        "Python for tests",
        "What fixtures give to tests of your own ([how to use them](../../fixtures.md)). These names, their arguments "
        "and the meaning of what they return stay as they are until the next major version.",
        (
            "harness.pytest_plugin.HarnessModel",
            "harness.pytest_plugin.ItemResult",
            "harness.pytest_plugin.HarnessRun",
            "harness.pytest_plugin.HarnessDevice",
            "harness.pytest_plugin.add_options",
        ),
    ),
    Page(
        "models",
        "Python for models",
        "How to describe [a model of your own](../../your-model.md), and how its answers are compared.",
        (
            "harness.models.ModelSpec",
            "harness.models.Tolerances",
            "harness.models.TopK",
            "harness.models.ExactTokens",
            "harness.models.ComparisonRule",
        ),
    ),
    Page(
        "errors",
        "Python errors",
        "Every error that a person sees is one of these. [All of them, with their cures](../errors.md).",
        (
            "harness.core.errors.HarnessError",
            "harness.core.errors.UsageError",
            "harness.core.errors.ExitCode",
        ),
    ),
    Page(
        "devices",
        "Python for kinds of devices",
        "What a package implements that adds [a kind of device](../../contributing/device.md).",
        (
            "harness.devices.base.Device",
            "harness.devices.base.RunnerDescription",
            "harness.devices.base.RunResult",
            "harness.devices.kinds.DeviceKind",
            "harness.devices.options.DeviceOption",
        ),
    ),
    Page(
        "workloads",
        "Python for kinds of workloads",
        "What a package implements that adds [a kind of workload](../../contributing/workload.md).",
        (
            "harness.models.workload.Workload",
            "harness.models.workload.Compilable",
            "harness.models.workload.TimedModel",
            "harness.models.kinds.WorkloadKind",
        ),
    ),
    Page(
        "compiler",
        "Python for kernels and operators",
        "What a package implements that adds [a kernel](../../contributing/kernel.md) of the compiler.",
        (
            "harness.compiler.operators.operator.FusedOperator",
            "harness.compiler.operators.operator.Match",
            "harness.compiler.kernels.kernel.Kernel",
        ),
    ),
    Page(
        "report",
        "Python for reports",
        "What a package implements that adds [a section of the report](../../contributing/report-section.md).",
        (
            "harness.report.sections.ReportSection",
            "harness.report.document.Heading",
            "harness.report.document.Line",
            "harness.report.document.Table",
        ),
    ),
)


def pages() -> dict[str, str]:
    """Return the pages by their path in docs."""
    found = {f"{FOLDER}/index.md": "\n".join(_index())}
    for page in PAGES:
        lines = [f"# {page.title}", "", page.text, ""]
        for name in page.names:
            lines += [f"::: {name}", ""]
        found[f"{FOLDER}/{page.name}.md"] = "\n".join(lines)
    return found


def _index() -> Iterator[str]:
    yield from [
        "# Python",
        "",
        "The names that other projects may use. The first three pages are for everybody; the others are for packages "
        "that extend the harness, whose names may change with any release.",
        "",
        "| Page | Names |",
        "|---|---|",
    ]
    for page in PAGES:
        names = ", ".join(f"[`{one.rpartition('.')[2]}`]({page.name}.md#{one})" for one in page.names)
        yield f"| [{page.title}]({page.name}.md) | {names} |"
    yield ""
