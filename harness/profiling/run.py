"""A run's profile: the same words on an archive with marks, and in turn on the plain one for what marks cost."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from harness.compiler.provenance import read_provenance
from harness.maker import Maker, Variant, app_options
from harness.narration import NarratorLike
from harness.native import Runner
from harness.profiling.schema import ProfileLine, ProfileSummary
from harness.protocol import RecordOptions, WorkItem

if TYPE_CHECKING:
    from harness.devices import RunResult
    from harness.orders import Purpose
    from harness.session import RunSession

WARMUP = 1


class RunOrder(Protocol):
    """Gives one order to the device and keeps its records; see ``RunSession``."""

    def __call__(
        self,
        purpose: Purpose,
        variant: Variant,
        items: list[WorkItem],
        *,
        warmup: int,
        repetitions: int,
        probe: RecordOptions | None,
        runner: Runner | None = None,
    ) -> RunResult: ...


def profile_run(session: RunSession, maker: Maker, narrator: NarratorLike, run_order: RunOrder) -> ProfileSummary:
    """Compile, run and sum up; the plain archive and the one with marks run in turn (plain, marked, marked, plain),
    each time half of the run's passes. Raises IncompleteResult, BadMarks, and what making a runner raises."""
    # Imported here because the statistics take a second to load.
    from harness.profiling.summary import summarize_profile

    options = session.options
    variant: Variant = options.variant
    plain = session.runner(variant)
    checkpoint = session.checkpoint
    assert checkpoint is not None, "only G2P is profiled"
    with narrator.stage(f"compiling {session.label} ({variant}, with marks)") as stage:
        archive = maker.profiled_archive(options, checkpoint, variant, stage.say)
    with narrator.stage(f"building the runner ({variant}, with marks)") as stage:
        app = app_options(
            options, session.device.companion, lambda own: maker.profiled_archive(own, checkpoint, variant, stage.say)
        )
        marked = maker.runner(archive, stage.say, app)
    lines: list[ProfileLine] = []
    for runner in (plain, marked, marked, plain):
        result = run_order(
            "profile",
            variant,
            session.items,
            warmup=WARMUP,
            repetitions=max(1, options.repeat // 2),
            probe=None,
            runner=runner,
        ).require_complete()
        lines += [ProfileLine.of(result.order_id, runner is marked, record) for record in result.records]
    provenance = read_provenance(archive.folder)
    summary = summarize_profile(
        lines,
        provenance,
        variant=variant,
        precision=options.precision,
        archive_sha256=archive.sha256,
        emulated=session.device.emulated,
    )
    session.writer.profile_summary(summary, provenance)
    return summary
