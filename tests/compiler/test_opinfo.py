"""Operators of ATen's core with PyTorch's own samples: one of each here, all of them in docs/operators.md.

``python tools/write_operators.py`` writes that table.
"""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

import pytest
import torch

from tests.compiler.opinfo import REFUSED, WRONG, Sample, infos, judge, sampled_as, samples, special
from tests.compiler.opinfo_names import FURTHER, core_operators

pytestmark = pytest.mark.compiler

PAGE = Path(__file__).parents[2] / "docs/operators.md"
ROW = re.compile(r"^\| `(\w[\w-]*)` \| (\d+) \| (\d+) \| (\d+) \| (.*) \|$", re.MULTILINE)
PARTS = 4
REFUSED_TOO = {
    "nn_functional_adaptive_avg_pool1d": "its middle sample",
    "nn_functional_embedding": "max_norm, which changes the weights",
    "var_unbiased": "no elements",
}
"""Operators whose middle sample is refused, while the samples of the committed table agree."""


@cache
def table() -> dict[str, tuple[int, int, int, str]]:
    """How many samples agree, are refused and are wrong, and what they are refused for, by operator."""
    rows = ROW.findall(PAGE.read_text(encoding="utf-8"))
    return {name: (int(agree), int(refused), int(wrong), why) for name, agree, refused, wrong, why in rows}


def one_sample(name: str) -> Sample | None:
    """The middle one of PyTorch's samples, with NaN and infinities if it can have them."""
    [info] = [info for info in infos() if info.formatted_name == name]
    own = list(samples(info, torch.float32)) or list(samples(info, torch.int64))
    return (special(own[len(own) // 2]) or own[len(own) // 2]) if own else None


def test_the_table_has_each_core_operator_and_none_that_is_wrong() -> None:
    assert set(core_operators()) | set(FURTHER) == set(table())
    assert {name: row for name, row in table().items() if row[2]} == {}


def test_what_is_not_tried_or_refused_has_a_reason_in_the_table() -> None:
    bare = {name for name, (agree, refused, _, why) in table().items() if (refused or not agree) and not why.strip()}
    assert bare == set()


@pytest.mark.thorough(keep=["0"])
@pytest.mark.parametrize("part", range(PARTS))
def test_a_sample_of_each_core_operator_agrees(part: int) -> None:
    rows = {name: operator for operator in core_operators() for name in sampled_as(operator)}
    # What is always refused is in test_unsupported.
    tried = [name for name, operator in rows.items() if table()[operator][0]][part::PARTS]
    verdicts = judge([sample for name in tried if (sample := one_sample(name))])
    assert [f"{one.sample.name}: {one.reason}" for one in verdicts if one.outcome == WRONG] == []
    refused = [one.sample for one in verdicts if one.outcome == REFUSED]
    known = {name for name, operator in rows.items() if table()[operator][1]} | REFUSED_TOO.keys()
    assert [sample.name for sample in refused if sample.operator not in known] == []
    assert len(refused) <= len(verdicts) // 10
