"""A model's profile: its items on an archive with marks, and in turn on the plain one for what marks cost."""

from __future__ import annotations

from typing import TYPE_CHECKING

from harness.compiler.observe.provenance import read_provenance
from harness.profiling.schema import ProfileLine, ProfileSummary

if TYPE_CHECKING:
    from harness.session import RunSession

WARMUP = 1


def profile_run(session: RunSession, model: str) -> ProfileSummary:
    """Compile, run and sum up; the plain archive and the one with marks run in turn (plain, marked, marked, plain),
    each time half of the run's passes. Raises IncompleteResult, BadMarks, and what making a runner raises."""
    # Imported here because the statistics take a second to load.
    from harness.profiling.summary import summarize_profile

    options = session.options
    plain, marked = (session.runner(options.variant, profile=marks) for marks in (False, True))
    lines: list[ProfileLine] = []
    for runner in (plain, marked, marked, plain):
        result = session.passes(
            "profile", model, warmup=WARMUP, repetitions=max(1, options.repeat // 2), runner=runner
        ).require_complete()
        lines += [ProfileLine.of(result.order_id, runner is marked, record) for record in result.records]
    return summarize_profile(
        lines,
        read_provenance(marked.archive.folder).of(model),
        model=model,
        variant=options.variant,
        precision=options.precision,
        archive_sha256=marked.archive.sha256,
        emulated=session.device.emulated,
    )
