"""Make a model's profile: run its items on an instrumented archive, in turn with the plain one for the cost."""

from __future__ import annotations

from collections.abc import Callable

from harness.compiler.observe.provenance import read_provenance
from harness.devices import RunResult
from harness.native import Runner
from harness.results.schema.profile import ProfileLine, ProfileSummary
from harness.run.context import RunContext

WARMUP = 1


def profile_run(context: RunContext, model: str, passes: Callable[[int, int, Runner], RunResult]) -> ProfileSummary:
    """Compile, run and sum up a model's profile.
    The plain archive and the instrumented one run in turn (plain, instrumented, instrumented, plain), each time half of
    the run's passes. ``passes`` runs so many warm-up and timed passes of a runner over the model's items. Raises
    IncompleteResult, BadMarks, and what making a runner raises.
    """
    # Imported here because the statistics take a second to load.
    from harness.profiling.summary import summarize_profile

    options = context.options
    plain, instrumented = (context.runner(options.variant, profile=wanted) for wanted in (False, True))
    lines: list[ProfileLine] = []
    for runner in (plain, instrumented, instrumented, plain):
        result = passes(WARMUP, max(1, options.repeat // 2), runner).require_complete()
        lines += [ProfileLine.of(result.order_id, runner is instrumented, record) for record in result.records]
    return summarize_profile(
        lines,
        read_provenance(instrumented.archive.folder).of(model),
        workload=model,
        unit=context.writer.manifest.workloads[model].unit,
        variant=options.variant,
        precision=options.precision,
        archive_sha256=instrumented.archive.sha256,
        emulated=context.device.emulated,
    )
