"""Draw the life of a work order, from the client to the verdict."""

from __future__ import annotations

from tools.diagrams.drawing import WIDTH, Drawing

HERE, DEVICE = "this machine", "the device"
STEPS: tuple[tuple[str, str, str, str], ...] = (
    (
        HERE,
        "Order",
        "The run writes a work order: the items, the number of passes, and the archive's SHA-256.",
        "run/workloads.py · WorkloadRun.order\nprotocol/schema.py · WorkOrder",
    ),
    (
        HERE,
        "Deploy",
        "A phone gets a copy of the runner, unless the same bytes are there already.",
        "run/orders.py · Orders.deploy\ndevices/base.py · Device.deploy",
    ),
    (
        HERE,
        "Lock",
        "One run holds a device at a time. The lock ends with the process that holds it.",
        "devices/lock.py · DeviceLock",
    ),
    (
        HERE,
        "Wait until the device is fit",
        "A timed order waits until a phone is cool and charged, and notes the conditions.",
        "devices/base.py · Device.settle",
    ),
    (
        DEVICE,
        "Run",
        "The runner checks that it has the archive, loads the model, runs the items and times each pass itself.",
        "device_runner/src/run.rs",
    ),
    (
        DEVICE,
        "Records",
        "It writes a header, a record for each pass and probe, and an end. A result without an end is incomplete.",
        "device_runner/src/result_file.rs",
    ),
    (
        HERE,
        "Read without trust",
        "Size, lines, schema, order and completeness are checked. What came before the first fault is kept.",
        "devices/collect.py · ResultReader",
    ),
    (
        HERE,
        "Keep",
        "A run appends each record to its folder as it arrives. A nightly run appends each whole run to its journal "
        "and syncs it, so that a kill loses no pair.",
        "results/store.py · RunWriter\nresults/journal.py · Journal",
    ),
    (
        HERE,
        "Verdict",
        "Answers are compared with PyTorch's, or with the baseline's. Times become figures with intervals.",
        "run/session.py · RunSession.finish\nregression/verdicts.py · judge_nightly",
    ),
)
"""Where a step happens, its name, what happens, and the modules that do it."""


def order() -> str:
    drawing = Drawing("The life of an order", " ".join(f"{name}: {words}" for _, name, words, _ in STEPS))
    y, gap, at = 12.0, 20, 0
    for where in (HERE, DEVICE, HERE):
        steps = []
        while at < len(STEPS) and STEPS[at][0] == where:
            steps.append(STEPS[at])
            at += 1
        # The frame lies behind its cards, and its height is known after them.
        place, top = len(drawing.pieces), y
        y += 26
        for step, (_, name, words, code) in enumerate(steps):
            if step:
                drawing.arrow((WIDTH / 2, y - gap + 2), (WIDTH / 2, y - 2))
            number = STEPS.index(steps[step]) + 1
            y = drawing.card(24, y, WIDTH - 48, f"{number}. {name}", words, code) + gap
        y += 10 - gap
        framed = Drawing("", "")
        framed.box(12, top, WIDTH - 24, y - top, fill="amber" if where == DEVICE else "blue", line="line")
        framed.text(24, top + 18, where, size=11.5, style="bold", ink="amber-ink" if where == DEVICE else "blue-ink")
        drawing.pieces[place:place] = framed.pieces
        if at < len(STEPS):
            drawing.arrow((WIDTH / 2, y + 2), (WIDTH / 2, y + gap - 2))
        y += gap
    return drawing.svg(y - gap + 12)
