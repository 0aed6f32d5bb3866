"""A stored rule is found again by its kind; one of a package that is gone is kept as it is."""

from __future__ import annotations

import numpy as np
import pytest
from pydantic import BaseModel, ValidationError

from harness.validate.comparison import (
    Comparison,
    ComparisonGone,
    ExactTokens,
    Tolerances,
    TopK,
    UnknownComparison,
)


class Stored(BaseModel):
    compare: Comparison


@pytest.mark.parametrize("rule", [Tolerances(relative=0.5), TopK(k=2, output="scores"), ExactTokens(tie=0.25)])
def test_a_rule_is_read_as_it_was_written(rule: Tolerances | TopK | ExactTokens) -> None:
    assert Stored.model_validate_json(Stored(compare=rule).model_dump_json()).compare == rule


def test_a_rule_of_a_package_that_is_gone_is_shown_and_kept_and_judges_nothing() -> None:
    text = '{"compare":{"kind":"cosine","least":0.5}}'
    stored = Stored.model_validate_json(text)
    assert isinstance(stored.compare, UnknownComparison)
    assert stored.compare.describe() == "cosine, which is not installed"
    assert stored.model_dump_json() == text
    one = {"output": np.zeros(1, dtype=np.float32)}
    with pytest.raises(ComparisonGone, match="'cosine' is not installed"):
        stored.compare.judge(one, one)


@pytest.mark.parametrize(
    "text",
    ['{"compare":{}}', '{"compare":5}', '{"compare":{"kind":"top_k","k":0}}', '{"compare":{"kind":"top_k","j":1}}'],
)
def test_what_is_no_rule_is_refused(text: str) -> None:
    with pytest.raises(ValidationError):
        Stored.model_validate_json(text)
