"""Write docs/operators.md: PyTorch's own samples of its operators, compiled and compared with PyTorch.

python tools/write_operators.py                    # judges all samples, for about an hour of one core
python tools/write_operators.py --only amax,sort   # judges these again, and takes the others from the last time
python tools/write_operators.py --most 6           # takes at most six samples of each operator in each type

What was judged lies in build/operators, an operator a file, so that a run that was stopped can go on with --resume.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import sys
import warnings
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from tests.compiler import opinfo  # noqa: E402  the tests are beside this folder
from tests.compiler import opinfo_names as names  # noqa: E402

PAGE = ROOT / "docs/operators.md"
JUDGED = ROOT / "build/operators"
TOGETHER = 8
"""Operators whose samples are judged at once."""

HEAD = """# Operators

This page lists the operators that compile. PyTorch's own samples of each (OpInfo, made for PyTorch's tests) are
exported, compiled, run on this machine and compared with PyTorch's results. Samples are of float32, int64 and
bool where PyTorch has them, and some once more with NaN, infinities and −0 among their elements.
Operators that are computed as products have none of these, nor have those that sort (`MIXED`, `TIED` in
`tests/compiler/opinfo.py`). `python tools/write_operators.py` writes this page, the committed one with `--most 1`;
`pytest tests/compiler -k opinfo` tries one sample of each.

A sample that is refused is refused when it is compiled: by name, or by one of TVM's passes (“TVM”). None gives a wrong
answer, within 1e-4 of an element or 1e-5 (2e-2 in half types).

Programs that torch's tools quantized before also have `quantized_decomposed` operators. `quantize_per_tensor`,
`quantize_per_channel` and their `dequantize` compile as arithmetic, and those around a convolution or a linear layer as
int8 kernels ([quantize](how-to/quantize.md#convolutions)).

"""


def judge(some: list[str], most: int) -> dict[str, list[dict[str, str]]]:
    """Return how each sample of some operators came out. Runs in a process of its own."""
    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)
    found: dict[str, list[dict[str, str]]] = {name: [] for name in some}
    given = {info.formatted_name: info for info in opinfo.infos()}
    for one in opinfo.judge([sample for name in some for sample in opinfo.spread(given[name], most)]):
        kept = {"sample": one.sample.name, "outcome": one.outcome, "reason": one.reason}
        found[one.sample.operator].append(kept)
    return found


def _judge_all(wanted: list[str], most: int) -> None:
    JUDGED.mkdir(parents=True, exist_ok=True)
    left = [wanted[at : at + TOGETHER] for at in range(0, len(wanted), TOGETHER)]
    # A crash of a compiled module ends its process, and costs only what is judged just then.
    with ProcessPoolExecutor(os.cpu_count(), mp_context=get_context("spawn")) as pool:
        futures = {pool.submit(judge, some, most): some for some in left}
        try:
            for future in as_completed(futures):
                _keep(future.result())
                left.remove(futures[future])
                print(f"{', '.join(futures[future])} ({len(left)} more)", flush=True)
        except BrokenProcessPool:
            print("a process of the samples crashed; going on one by one", flush=True)
    for name in [name for some in left for name in some]:
        with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
            try:
                _keep(pool.submit(judge, [name], most).result())
            except BrokenProcessPool:
                _keep({name: [{"sample": name, "outcome": "wrong", "reason": "the process crashed"}]})
            print(name, flush=True)


def _keep(judged: dict[str, list[dict[str, str]]]) -> None:
    for name, verdicts in judged.items():
        path = JUDGED / f"{name}.json"
        new = path.with_suffix(".new")
        new.write_text(json.dumps(verdicts, indent=1), encoding="utf-8")
        new.replace(path)


def _kept(name: str) -> list[dict[str, str]]:
    path = JUDGED / f"{name}.json"
    if not path.exists():
        raise SystemExit(f"write_operators: {name} was not judged yet; run it without --only")
    found: list[dict[str, str]] = json.loads(path.read_text(encoding="utf-8"))
    return found


REASONS = (
    ("draws random numbers", "random numbers"),
    ("depends on the values", "size by values"),
    ("complex", "complex numbers"),
    ("has no operator for", "no form"),
    ("torch.export cannot take", "torch.export"),
    ("TVM cannot compile", "TVM"),
)
"""Parts of errors, and how they are called in a word."""


def _word(verdict: dict[str, str]) -> str:
    return next((word for part, word in REASONS if part in verdict["reason"]), "an option")


def row(operator: str, some: list[str]) -> str:
    verdicts = [verdict for name in some for verdict in _kept(name)]
    count = {kind: sum(one["outcome"] == kind for one in verdicts) for kind in ("agrees", "refused", "wrong")}
    words: dict[str, int] = {}
    for one in verdicts:
        if one["outcome"] == "refused":
            words[_word(one)] = words.get(_word(one), 0) + 1
    why = ", ".join(f"{word} ({number})" for word, number in sorted(words.items(), key=lambda pair: -pair[1]))
    if names.is_of_training(operator):
        why = "of training"
    why = why or names.WITHOUT_SAMPLES.get(operator, "")
    return f"| `{operator}` | {count['agrees']} | {count['refused']} | {count['wrong']} | {why} |"


def page() -> str:
    table = "| Operator | Agree | Refused | Wrong | Refused for |\n|---|---|---|---|---|\n"
    core = [row(name, opinfo.sampled_as(name)) for name in names.core_operators()]
    further = [row(name, [name]) for name in names.FURTHER]
    return (
        f"{HEAD}## ATen's core operators\n\n{table}"
        + "\n".join(core)
        + f"\n\n## Further operators\n\n{table}"
        + "\n".join(further)
        + "\n"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description="Write the table of operators.")
    parser.add_argument("--only", help="OpInfo's names of those to judge again, with commas between them")
    parser.add_argument("--most", type=int, default=1000, help="the most samples of an operator in a type")
    parser.add_argument("--resume", action="store_true", help="leave out what was judged already")
    given: Any = parser.parse_args()
    whole = [name for operator in names.core_operators() for name in opinfo.sampled_as(operator)]
    wanted = list(dict.fromkeys([*whole, *names.FURTHER]))
    if given.only is not None:
        wanted = given.only.split(",")
    if given.resume:
        wanted = [name for name in wanted if not (JUDGED / f"{name}.json").exists()]
    _judge_all(wanted, given.most)
    new = PAGE.with_suffix(".new")
    new.write_text(page(), encoding="utf-8")
    new.replace(PAGE)


if __name__ == "__main__":
    main()
