"""Write docs/gallery: five real runs of this machine, measured anew, as pages and pictures.

python -m tools.write_gallery                  # measures, then writes; about ten minutes with a filled cache
python -m tools.write_gallery --resume         # measures what is missing after an interruption
python -m tools.write_gallery --written        # measures nothing: writes the pages of the last time

The checkout has to be clean, so that the commit on each page is what was measured. Let nothing else run meanwhile.
"""

from __future__ import annotations

import argparse
import shlex
import shutil
import subprocess
import sys
import tempfile
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from playwright.sync_api import sync_playwright

from harness.core.files import replacing
from harness.report.html import html_report
from harness.report.nightly import headline
from harness.report.reproduce import nightly_reproduction, reproduction
from harness.report.run import verdict_text
from harness.results import Run, Store
from harness.results.nightly import NightlyRecord, nightly_runs
from tests.report.html.browsers import chromium
from tools.gallery_pages import GALLERY, ROOT, renamed, without_plotly
from tools.pictures import opened, shoot, top_of

RESULTS = "results/gallery"
"""Relative, so that the commands on the pages hold no path of this machine."""
BASELINE, CANDIDATE = "release", "without-fp16"
WIDE, HEIGHT = 1180, 760


@dataclass(frozen=True)
class Exhibit:
    """Hold one page of the gallery: its title, what to look at, the commands that measure it."""

    name: str
    title: str
    look_at: str
    """Two sentences."""
    picture_of: str
    """The element at the top of the picture."""
    options: Sequence[str] = ()
    """Of ``pytest suites --device host``."""


RUNS = (
    Exhibit(
        "detector",
        "A detector of objects",
        "In *Profile* the operators are in the order of their time, and a mark shows the time that this machine's "
        "memory and arithmetic allow. The section *Latency* has a row for each picture, with its own ratio to PyTorch "
        "and the interval: unlike pictures are never averaged into one number.",
        "#profile",
        ("--models", "detector", "--profile"),
    ),
    Exhibit(
        "bert",
        "A text encoder of BERT's shape",
        "The inputs have 7, 23 and 101 tokens, and the ratio to PyTorch is not the same for all of them. The last "
        "picture of the section has every sample in the order in which it was taken, with the machine's load below.",
        "#latency",
        ("--models", "bert", "--profile"),
    ),
    Exhibit(
        "g2p",
        "Words to phonemes, in 13 languages",
        "The histogram counts every sample of 130 words, and the bars below split a word into encoder, prefill and "
        "steps. In *Accuracy* each language has its phoneme error rate and that of PyTorch.",
        "#latency",
        ("--models", "g2p", "--profile", "--pair-seconds", "40"),
    ),
    Exhibit(
        "language-model",
        "A language model of 135 million parameters",
        "Each of the three prompts has its time to the first token and its rate of tokens, and all tokens are "
        "compared with those of transformers. The weights are drawn from a seed in SmolLM2's sizes: the speed is "
        "that of the real model, the text is not.",
        "#verdict",
        ("--models", "random:smollm2-135m", "--repeat", "3", "--pair-seconds", "120"),
    ),
)
NIGHTLY = Exhibit(
    "nightly",
    "A nightly run that failed",
    "The baseline was built with `--precision fp16`, and the candidate without it, as if somebody had lost the "
    "option: it is slower, and larger, and the gate names both. Look at the intervals and at every pair's ratio, "
    "and at what the second session confirmed.",
    "#verdict",
)
RELEASED = ("--models", "g2p", "--precision", "fp16", "--pair-seconds", "0")
LOST = ("--models", "g2p", "--pair-seconds", "0")


def measure() -> None:
    """Measure what is missing. Raises CalledProcessError if a command ends otherwise than it should."""
    (ROOT / RESULTS).mkdir(parents=True, exist_ok=True)
    kept = ("--results-dir", RESULTS)
    suites = ("suites", "--device", "host", *kept)
    for exhibit in RUNS:
        if not note_of(exhibit.name).exists():
            called("pytest", *suites, *exhibit.options)
            note(exhibit.name)
    for name, options in ((BASELINE, RELEASED), (CANDIDATE, LOST)):
        if not note_of(name).exists():
            called("pytest", *suites, *options)
            called("harness", "baseline", "set", "latest", "--name", name, *kept)
            note(name)
    if not any(record.state == "fail" for record in nightly_runs(ROOT / RESULTS)):
        named = ("--baseline", BASELINE, "--candidate", CANDIDATE)
        called("harness", "nightly", *named, "--words", "13", *kept, code=1)


def note_of(name: str) -> Path:
    """Return the file that holds the id of the run of that name."""
    return ROOT / RESULTS / f"{name}.txt"


def note(name: str) -> None:
    """Keep the latest run's id."""
    note_of(name).write_text(Store(ROOT / RESULTS).runs()[-1].run_id, encoding="utf-8")


def called(program: str, *arguments: str, code: int = 0) -> None:
    print("$", shlex.join([program, *arguments]), flush=True)
    ended = subprocess.run([Path(sys.executable).with_name(program), *arguments], cwd=ROOT, check=False)
    if ended.returncode != code:
        raise subprocess.CalledProcessError(ended.returncode, [program, *arguments])


def check_clean() -> None:
    """Raise SystemExit if the checkout has changes."""
    changed = subprocess.run(
        ["git", "status", "--porcelain"], cwd=ROOT, check=True, capture_output=True, text=True, encoding="utf-8"
    )
    if changed.stdout:
        raise SystemExit(f"the checkout has changes that its commit does not hold:\n{changed.stdout}")


def run_of(name: str) -> Run:
    return Store(ROOT / RESULTS).find(note_of(name).read_text(encoding="utf-8"))


def failed_nightly() -> NightlyRecord:
    return next(record for record in reversed(nightly_runs(ROOT / RESULTS)) if record.state == "fail")


def write() -> None:
    """Write every page, its picture and the index."""
    GALLERY.mkdir(exist_ok=True)
    record = failed_nightly()
    pages: list[tuple[Exhibit, str]] = [(one, html_report([run_of(one.name)])) for one in RUNS]
    pages.append((NIGHTLY, html_report([], [record])))
    names = {f"{ROOT}/": "", str(Path.home()): "~"}
    with tempfile.TemporaryDirectory() as scratch, sync_playwright() as playwright:
        browser = chromium(playwright)
        for exhibit, page in pages:
            page = renamed(page, names)
            whole = Path(scratch) / f"{exhibit.name}.html"
            whole.write_text(page, encoding="utf-8")
            with replacing(GALLERY / whole.name) as partial:
                partial.write_text(without_plotly(page), encoding="utf-8")
            shown = opened(browser, whole, WIDE)
            shoot(shown, GALLERY / f"{exhibit.name}.png", top=top_of(shown, exhibit.picture_of), height=HEIGHT)
            shown.close()
        browser.close()
    with replacing(GALLERY / "index.md") as partial:
        partial.write_text(
            index([*map(run_entry, RUNS), nightly_entry(record)], machine_of(run_of(RUNS[0].name))), encoding="utf-8"
        )


HEAD = """# Gallery

Five pages, as `harness report` writes them, of real runs on the host. Each holds its commit, its machine, the command
that makes the run again, and its raw data.

{about}

`python -m tools.write_gallery` measures everything again and writes this folder. In the repository the pages lack
plotly.js, which is nine tenths of a report and the same in all of them. The built site has whole pages, and so has the
folder that `python -m tools.gallery_pages build/gallery` writes.
"""

ABOUT = (
    "**The machine** is an {machine}. It is a virtual server that other tenants share, and other programs kept both of "
    "its cores busy while these runs were made. So the milliseconds are of that hour, and several times those of a "
    "quiet machine. Ratios to PyTorch and to the baseline were measured alternately, and mean more. A ratio that was "
    "not clear enough is shown as *inconclusive*, here as everywhere."
)

TAIL = """## Other pages

`python -m tools.write_screenshots` makes these pictures.

A report also fits a phone, and follows the system's dark theme:

![The latency of words, dark](../images/report-dark.png)

`harness explain` writes a page about one item ([how it works](../explanation/explain.md)). This is a weight that was
transposed on purpose, at the width of a phone:

![An explanation on a phone](../images/explain-phone.png)

A lab has a page of its own ([the lab](../lab.md#the-labs-page)), here with made-up phones:

![A lab's page on a phone](../images/lab-phone.png)
"""


def index(entries: Sequence[str], machine: str) -> str:
    return "\n".join([HEAD.format(about=wrapped(ABOUT.format(machine=machine))), *entries, TAIL])


def wrapped(text: str) -> str:
    return textwrap.fill(text, 118, break_long_words=False, break_on_hyphens=False)


def entry(exhibit: Exhibit, verdict: str, again: str | None) -> str:
    """Return the part of the index about one page."""
    command = (again or "").replace(" && ", "\n")
    picture = f"[![The report: {exhibit.title}]({exhibit.name}.png)]({exhibit.name}.html)"
    link = f"[Open the report]({exhibit.name}.html)"
    # The title is for the test that runs the commands of pages.
    commands = f'```sh title="needs a checkout"\n{command}\n```\n'
    parts = (
        f"## {exhibit.title}",
        wrapped(exhibit.look_at),
        picture,
        link,
        f"```text\n{wrapped(verdict)}\n```",
        commands,
    )
    return "\n\n".join(parts)


def run_entry(exhibit: Exhibit) -> str:
    run = run_of(exhibit.name)
    manifest, summary = run.manifest(), run.summary()
    assert summary is not None
    return entry(exhibit, verdict_text(manifest, summary), reproduction(manifest))


def nightly_entry(record: NightlyRecord) -> str:
    """Return the part about the nightly run; its baselines have to be made before."""
    assert record.verdicts is not None
    suites = "pytest suites --device host"
    results = f"--results-dir {RESULTS}"
    steps = [
        line
        for name, options in ((BASELINE, RELEASED), (CANDIDATE, LOST))
        for line in (
            f"{suites} {shlex.join(options)} {results}",
            f"harness baseline set latest --name {name} {results}",
        )
    ]
    commit = next(unit.b.git.commit for unit in record.plan.units if unit.b.git)
    again, _ = nightly_reproduction(record)
    return entry(
        NIGHTLY,
        f"{record.state.upper()}  ·  {headline(record.verdicts)}",
        "\n".join([f"git checkout {commit}", *steps, again or ""]),
    )


def machine_of(run: Run) -> str:
    device = run.manifest().device
    memory = device["memory_bytes"] / 2**30
    return f"{device['cpu_model']} with {device['cores']} cores and {memory:.0f} GiB, {device['os']}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--written", action="store_true", help="measure nothing")
    parser.add_argument("--resume", action="store_true", help="keep what has been measured")
    arguments = parser.parse_args()
    if not arguments.written:
        check_clean()
        if not arguments.resume:
            shutil.rmtree(ROOT / RESULTS, ignore_errors=True)
        measure()
    write()


if __name__ == "__main__":
    main()
