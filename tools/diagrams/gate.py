"""Draw how the gate decides about one cell, with the numbers of its rule and the names of its states."""

from __future__ import annotations

from harness.measure import GateVerdict
from harness.measure.gate import DEFAULT_RULE, Outcome
from harness.measure.limits import MEMORY_GROWTH, SIZE_GROWTH
from tools.diagrams.drawing import WIDTH, Drawing

COLOUR = {
    GateVerdict.PASS: "green",
    GateVerdict.WARN: "amber",
    GateVerdict.FAIL: "red",
    GateVerdict.INCONCLUSIVE: "grey",
}
LEFT, CARD, CHIP, CHIP_AT = 12, 226, 100, WIDTH - 112
Way = tuple[str, GateVerdict]


def percent(value: float) -> str:
    return f"{value * 100:g}\u00a0%"


def steps() -> list[tuple[str, str, list[Way], str]]:
    """Return each step: its name, what happens, the ways out with their verdicts, and the way on."""
    rule = DEFAULT_RULE
    clear, suspect, noisy = Outcome.CLEAR.value, Outcome.SUSPECT.value, Outcome.NOISY.value
    return [
        (
            "Is the device fit?",
            "It has to be cool, charged and connected, and the time budget must not be used up.",
            [("no", GateVerdict.INCONCLUSIVE)],
            "yes",
        ),
        (
            "First session",
            f"{rule.pairs} pairs A B, B A, …, each run a fresh process. {rule.extended_pairs} pairs if processes "
            f"differ by more than {percent(rule.extend_above)}.",
            [],
            "measured",
        ),
        (
            "Is B slower?",
            f"Suspect: p ≤ {rule.alpha:g}, and B is slower by more than {percent(rule.min_change)}, by more than the "
            "device's floor, and by enough to matter for the whole latency. Noisy: processes differ by more than "
            f"{percent(rule.blurred_above)}, and the session is measured once more.",
            [(clear, GateVerdict.PASS), (f"{noisy} twice", GateVerdict.INCONCLUSIVE)],
            suspect,
        ),
        (
            "Second session",
            "The device cools down, and everything is measured again.",
            [
                (clear, GateVerdict.WARN),
                (f"{noisy} twice", GateVerdict.WARN),
                ("not made", GateVerdict.INCONCLUSIVE),
            ],
            suspect,
        ),
        (
            "Is it more than chance?",
            "Both p-values are combined (Fisher) and corrected for all cells of the nightly run (Benjamini & "
            f"Hochberg). The result has to be at most {percent(rule.false_discoveries)}.",
            [("no", GateVerdict.WARN), ("yes", GateVerdict.FAIL)],
            "",
        ),
    ]


def gate() -> str:
    drawing = Drawing(
        "How the gate decides about one cell",
        "A cell is a device, a model, a variant and a metric. " + " ".join(f"{a}: {b}" for a, b, _, _ in steps()),
    )
    drawing.text(12, 24, "One cell: device, model, variant, metric", size=13, style="bold")
    drawing.text(12, 41, "A is the baseline, B is the candidate.", size=11.5, style="dim")
    y = 52.0
    for name, words, ways, on in steps():
        lower = drawing.card(LEFT, y, CARD, name, words)
        middle, step = (y + lower) / 2, 36
        first = middle - step * (len(ways) - 1) / 2
        for at, (label, verdict) in enumerate(ways):
            place = first + step * at
            drawing.arrow((LEFT + CARD + 2, place), (CHIP_AT - 3, place))
            drawing.text((LEFT + CARD + CHIP_AT) / 2 - 2, place - 4, label, size=10.5, style="dim", anchor="middle")
            drawing.pill(CHIP_AT, place - 12, CHIP, verdict.value.upper(), COLOUR[verdict])
        y = lower
        if on:
            drawing.arrow((LEFT + CARD / 2, y + 2), (LEFT + CARD / 2, y + 28))
            drawing.text(LEFT + CARD / 2 + 8, y + 19, on, size=10.5, style="dim")
            y += 31
    y += 16
    limits = (
        f"The runner and the archive may grow by {percent(SIZE_GROWTH)}, the peak memory by {percent(MEMORY_GROWTH)}. "
        "Answers have to be the baseline's. One look is enough: FAIL if a limit is exceeded."
    )
    y = drawing.card(LEFT, y, WIDTH - 24, "Limits that need no statistics", limits) + 10
    y = drawing.card(
        LEFT,
        y,
        WIDTH - 24,
        "The verdict of the nightly run",
        "The first of these that any cell or limit has:",
    )
    x = LEFT + 10.0
    for at, verdict in enumerate((GateVerdict.FAIL, GateVerdict.INCONCLUSIVE, GateVerdict.WARN, GateVerdict.PASS)):
        width = CHIP if verdict is GateVerdict.INCONCLUSIVE else 60
        if at:
            drawing.arrow((x - 16, y + 18), (x - 3, y + 18))
        drawing.pill(x, y + 6, width, verdict.value.upper(), COLOUR[verdict])
        x += width + 20
    return drawing.svg(y + 44)
