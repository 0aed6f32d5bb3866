"""The language of labels: what it chooses, what it refuses, and that nothing in it is ever evaluated."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.lab.errors import BadSelector
from harness.lab.selector import Labels, parse_selector

PIXEL: Labels = {
    "name": "desk/emu-1",
    "serial": "emu-1",
    "host": "desk",
    "soc": "SM8650",
    "model": "Pixel 8 Pro",
    "os": "15.1",
    "ram_gb": 12,
    "features": ["dotprod", "i8mm"],
    "emulated": False,
}


@pytest.mark.parametrize(
    ("text", "chosen"),
    [
        ("all", True),
        ("emu-1", True),
        ("desk", True),
        ("DESK/emu-1", True),
        ("emu", False),
        ("soc=sm8650", True),
        ("soc = sm8650 and os >= 15", True),
        ("soc=sm8650 and os>=16", False),
        ("os<15.10", True),
        ("os>15", True),
        ("os<=15.1.0", True),
        ("os=15", False),
        ("ram_gb>=8 and ram_gb<12", False),
        ("ram_gb>=8 and ram_gb<13", True),
        ("model='pixel 8 pro'", True),
        ('model="Pixel 8"', False),
        ("model>5", False),
        ("features=i8mm", True),
        ("features!=i8mm", False),
        ("features=sve", False),
        ("emulated=no", True),
        ("soc!=exynos", True),
        ("colour!=red", False),
        ("not colour=red", True),
        ("soc=a or soc=b or soc=sm8650", True),
        ("soc=a or soc=sm8650 and os<15", False),
        ("(soc=a or soc=sm8650) and not (os<15)", True),
        ("not not desk", True),
        ("SOC=SM8650 AND OS>=15", True),
    ],
)
def test_what_it_chooses(text: str, chosen: bool) -> None:
    assert parse_selector(text).matches(PIXEL) is chosen


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "is missing at the end"),
        ("   ", "is missing at the end"),
        ("soc=", "a value is missing after soc="),
        ("soc==a", "a value is missing after soc="),
        ("=a", "'=' stands where a label or a name belongs"),
        ("soc=a and", "is missing at the end"),
        ("and soc=a", "'and' stands where"),
        ("soc=a os=15", "'os' stands where the selector should have ended"),
        ("(soc=a", "a bracket is not closed"),
        ("soc=a)", r"'\)' stands where the selector should have ended"),
        ("os>=fifteen", "compares numbers, and 'fifteen' is none"),
        ("os>=1..2", "compares numbers"),
        ("'my soc'=a", "is no label's name"),
        ("1soc=a", "'1soc' is no label's name"),
        ("soc='a", "is not understood"),
        ("soc=$(reboot)", r"'\$\(reboot\)' is not understood"),
        ("__import__('os')", r"'\(' stands where"),
        ("(" * 50 + "a" + ")" * 50, "inside each other"),
        ("not " * 50 + "a", "inside each other"),
        ("a" * 2000, "at most 1000 characters"),
    ],
)
def test_what_it_refuses(text: str, reason: str) -> None:
    with pytest.raises(BadSelector, match=reason) as caught:
        parse_selector(text)
    assert caught.value.exit_code == 2


@given(st.text(max_size=80))
def test_any_text_is_chosen_by_or_refused(text: str) -> None:
    try:
        chosen = parse_selector(text).matches(PIXEL)
    except BadSelector:
        return
    assert chosen in (True, False)


@given(st.lists(st.sampled_from(["soc", "=", ">=", "15", "and", "or", "not", "(", ")", "'a b'", "all"]), max_size=12))
def test_any_words_are_chosen_by_or_refused(words: list[str]) -> None:
    try:
        chosen = parse_selector(" ".join(words)).matches(PIXEL)
    except BadSelector:
        return
    assert chosen in (True, False)
