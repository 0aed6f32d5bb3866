"""Documents about a lab: its phones and their queues, and how the cells of its nightly runs moved."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from pydantic import Field

from harness.cli.documents.base import Document, Facts, Number, Part
from harness.cli.documents.files import FileRow
from harness.results.nightly import nightly_runs

if TYPE_CHECKING:
    from harness.lab.client import Census
    from harness.lab.wire import Card
    from harness.results.drift import CellHistory


class WaiterRow(Part):
    """A client that waits for a phone."""

    owner: str
    waited_seconds: Number


class PhoneRow(Part):
    """A phone of the lab, as its agent describes it."""

    name: str
    """`host/serial`."""
    host: str
    device: str
    """The name that runs and baselines have for it."""
    kind: str
    state: Literal["free", "held", "resting", "unreachable", "quarantined"]
    usable: bool
    """Whether it is given out, now or later."""
    reason: str | None
    """Why it is not free."""
    emulated: bool
    harness: str
    """The version on its host."""
    labels: Facts
    """What a selector may ask for."""
    holder: str | None
    """Who has it now."""
    doing: str | None
    """The call of its holder that runs now, such as `run`."""
    held_seconds: Number
    records: int | None
    """How many records this lease has brought so far."""
    waiting: int
    queue: list[WaiterRow]
    """Those of the waiting clients who came first, 20 at most."""


class BuilderRow(Part):
    """A worker that compiles."""

    name: str
    """`host/compile-N`."""
    doing: str | None
    """What it compiles now."""
    seconds: Number
    """For how long."""
    done: int
    """How many orders it has ended."""


class LabDocument(Document):
    """`harness lab serve` at `/api/lab.json`: the lab's phones, who has them and who waits."""

    schema_name: Literal["harness.lab/1"] = Field(default="harness.lab/1", alias="schema")
    scheduler: str
    reachable: bool
    """Whether the scheduler answers. The phones are those of its last answer."""
    trouble: str | None
    """Why it does not."""
    age_seconds: Number
    """How old the last answer is; null where there was none."""
    phones: list[PhoneRow]
    builders: list[BuilderRow]
    """The workers that compile."""


class CompiledRow(Part):
    """One model's archive for one target."""

    model: str
    """As ``--models`` named it."""
    target: str
    worker: str
    """`host/compile-N`, which made it or found it in the shared cache."""
    seconds: Number
    """What that took there."""
    files: list[FileRow]


class TokenRow(Part):
    """A client of a lab that has a token."""

    client: str
    expires: str
    """In UTC, by ISO 8601."""
    expired: bool


class TokenMadeDocument(Document):
    """`harness lab token add`: a new token, which is shown only once."""

    schema_name: Literal["harness.token/1"] = Field(default="harness.token/1", alias="schema")
    client: str
    token: str
    days: Number


class TokenRevokedDocument(Document):
    """`harness lab token revoke`: a client without a token."""

    schema_name: Literal["harness.token-revoked/1"] = Field(default="harness.token-revoked/1", alias="schema")
    client: str


class TokensDocument(Document):
    """`harness lab token list`: who may use a lab, without the tokens themselves."""

    schema_name: Literal["harness.tokens/1"] = Field(default="harness.tokens/1", alias="schema")
    tokens: list[TokenRow]


class LabCompiledDocument(Document):
    """`harness lab compile`: the archives that a lab's workers made."""

    schema_name: Literal["harness.lab-compiled/1"] = Field(default="harness.lab-compiled/1", alias="schema")
    archives: list[CompiledRow]


class TrendPoint(Part):
    """One nightly run of a cell. Changes and levels are fractions: a level of 1.05 takes 5 % longer than the first."""

    night: str
    started: str
    verdict: str
    change: Number
    """Of this nightly run's baseline."""
    low: Number
    high: Number
    """95 % interval of the change."""
    level: Number
    """Of the chain's first baseline."""
    commit: str | None


class TrendDrift(Part):
    """A change of level that stayed."""

    night: str
    """The first nightly run at the new level."""
    before: Number
    after: Number
    commit: str | None
    commit_before: str | None


class TrendLine(Part):
    """How one cell moved over the nightly runs."""

    device: str
    model: str
    variant: str
    metric: str
    chain: str
    """The baseline with which it begins."""
    points: list[TrendPoint]
    """The latest, the oldest first."""
    drifts: list[TrendDrift]


class TrendsDocument(Document):
    """`harness lab serve` at `/api/trends.json`: how the cells of nightly runs moved."""

    schema_name: Literal["harness.trends/1"] = Field(default="harness.trends/1", alias="schema")
    results_dir: str
    cells: list[TrendLine]


def phone_row(card: Card) -> PhoneRow:
    """Return the row of a phone."""
    from harness.lab.phone_choice import usable, why_not

    work = card.work
    return PhoneRow(
        name=card.name,
        host=card.host,
        device=card.device,
        kind=card.kind,
        state=card.state,
        usable=usable(card),
        reason=card.reason or (None if usable(card) else why_not(card)),
        emulated=card.emulated,
        harness=card.harness,
        labels=card.labels,
        holder=card.holder or None,
        doing=(work.doing or None) if work else None,
        held_seconds=work.seconds if work else None,
        records=work.records if work else None,
        waiting=card.waiting,
        queue=[WaiterRow(owner=one.owner, waited_seconds=one.seconds) for one in card.queue],
    )


def lab_document(scheduler: str, census: Census | None, age: float | None, trouble: str | None) -> LabDocument:
    """Return what was last seen of a lab."""
    phones = census.phones if census is not None else {}
    builders = census.builders if census is not None else {}
    return LabDocument(
        scheduler=scheduler,
        reachable=trouble is None,
        trouble=trouble,
        age_seconds=age,
        phones=[phone_row(phones[name]) for name in sorted(phones)],
        builders=[
            BuilderRow(
                name=one.name, doing=one.doing or None, seconds=one.seconds if one.doing else None, done=one.done
            )
            for _, one in sorted(builders.items())
        ],
    )


def trends_document(results: Path, most: int, place: str) -> TrendsDocument:
    """Return the last ``most`` nightly runs of every cell below a folder of results; ``place`` names it."""
    from harness.results.drift import history_of

    histories = history_of(nightly_runs(results))
    return TrendsDocument(results_dir=place, cells=[_trend(one, most) for one in histories])


def _trend(history: CellHistory, most: int) -> TrendLine:
    points: Sequence[TrendPoint] = [
        TrendPoint(
            night=one.night_id,
            started=one.started,
            verdict=one.verdict,
            change=one.change,
            low=one.low,
            high=one.high,
            level=one.level,
            commit=one.commit,
        )
        for one in history.points[-most:]
    ]
    first = len(history.points) - len(points)
    return TrendLine(
        device=history.device,
        model=history.model,
        variant=history.variant,
        metric=history.metric,
        chain=history.chain,
        points=list(points),
        drifts=[
            TrendDrift(
                night=one.night_id,
                before=one.before,
                after=one.after,
                commit=one.commit,
                commit_before=one.commit_before,
            )
            for one in history.drifts
            if one.index >= first
        ],
    )
