"""An explanation small enough to be written down: an encoder's kernel diverges, a step's inherits."""

from __future__ import annotations

from harness.explain import Error, Explanation, SiteRow

GOOD = Error(largest=1e-7, relative=1e-7, cosine=1.0, snr=140.0, allowed=1e-5, departs=False)
BAD = Error(largest=0.5, relative=0.4, cosine=0.8, snr=3.0, allowed=1e-5, departs=True)
NOT_FINITE = Error(largest=None, relative=None, cosine=None, snr=None, allowed=1e-5, departs=True)


def row(at: int, own: Error | None, whole: Error | None, *, function: str = "encoder", call: int = 0) -> SiteRow:
    return SiteRow(
        function=function,
        call=call,
        index=at,
        kernel=f"product_{at}",
        operation=f"linear_{at}",
        target="aten.linear.default",
        module=f"layers.{at}",
        operators=["mul", f"linear_{at}"],
        shape=[1, 4],
        own=own,
        whole=whole,
    )


def explanation(rows: list[SiteRow], **more: object) -> Explanation:
    facts = {"run_id": "r", "item": "w0", "language": "ger", "word": "<b>", "variant": "cache", "archive_sha256": "0"}
    return Explanation.model_validate({**facts, "rows": rows, **more})


DEPARTED = explanation(
    [
        row(0, GOOD, GOOD),
        row(1, None, None),
        row(2, BAD, BAD),
        row(3, GOOD, BAD),
        row(0, GOOD, NOT_FINITE, function="decoder_step", call=3),
    ],
    verdict="mismatch",
    step=3,
    expected_token=7,
    got_token=9,
    expected_margin=1.5,
    got_margin=0.25,
)
