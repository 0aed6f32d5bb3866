"""What is named, and how it is shown."""

from __future__ import annotations

import json

from harness.explain import Explanation
from harness.report.explanation import explanation_report
from harness.report.html import explanation_page
from harness.report.html.explained import CEILING, explained
from harness.report.render import to_markdown
from tests.explain.explanations import BAD, DEPARTED, GOOD, explanation, row


def test_the_first_kernel_that_departs_by_itself_is_named() -> None:
    assert DEPARTED.departed
    assert not DEPARTED.inherited
    assert (DEPARTED.function, DEPARTED.module, DEPARTED.operation) == ("encoder", "layers.2", "linear_2")


def test_errors_that_have_summed_up_are_told_from_a_kernels_own() -> None:
    found = explanation([row(0, GOOD, GOOD), row(1, GOOD, BAD)])
    assert found.inherited
    assert found.operation == "linear_1"
    assert "accumulated" in to_markdown(explanation_report(found))


def test_a_tie_without_departure_is_none() -> None:
    found = explanation([row(0, GOOD, GOOD)], verdict="tie", step=2, tie=True)
    assert not found.departed
    text = to_markdown(explanation_report(found))
    assert "**no kernel diverges from PyTorch beyond the measured error**" in text
    assert "a declared tie" in text


def test_the_report_says_where_and_escapes_what_a_run_says() -> None:
    text = to_markdown(explanation_report(DEPARTED))
    assert r"first module that diverges: encoder, layers.2" in text
    assert r"linear\_2 (aten.linear.default), in encoder" in text
    assert "token 7 expected, token 9 got" in text
    assert "| → encoder | layers.2 |" in text
    assert "∞" in text  # what is not finite
    assert "<b>" not in text


def test_the_picture_shows_every_compared_call_and_marks_the_first_bad_one() -> None:
    figure = explained(DEPARTED).figure
    inherited, own, allowed, marked = figure.traces
    assert own["x"] == [0, 1, 2, 3]
    assert own["y"] == [0.01, 5e4, 0.01, 0.01]
    assert inherited["y"][-1] == CEILING
    assert allowed["y"] == [1, 1]
    assert (marked["x"], marked["y"]) == ([1], [5e4])
    assert "linear_2" in figure.summary


def test_the_page_holds_the_picture_and_escapes_what_a_run_says() -> None:
    page = explanation_page(DEPARTED)
    assert '<section id="explained">' in page
    assert 'id="cells"' not in page
    assert "first operation that diverges: linear_2" in page
    assert "<b>" not in page


def test_what_was_not_compared_is_counted_with_its_reason_wherever_it_is_shown() -> None:
    why = "moves data"
    skipped = [row(at, None, None).model_copy(update={"uncompared": why}) for at in range(5)]
    last = row(5, BAD, BAD).model_copy(update={"unseen": ["split_1"]})
    found = explanation([row(9, GOOD, GOOD), *skipped, last], planned=10)
    stored = Explanation.model_validate_json(found.model_dump_json())
    assert stored == found
    assert stored.coverage.model_dump() == json.loads(found.model_dump_json())["coverage"]
    assert (stored.coverage.compared, stored.coverage.calls) == (2, 10)
    for text in (to_markdown(explanation_report(found)).replace("\\", ""), explanation_page(found)):
        assert "2 of 10 calls of kernels were compared with PyTorch" in text
        assert f"not compared, 5: the kernel {why} (product_0, product_1, product_2, product_3, …)" in text
        assert "not compared, 3: the kernel did not run, or gave nothing away" in text
        assert "or of split_1 before it, which were not compared" in text
    assert "not compared" not in to_markdown(explanation_report(explanation([row(0, GOOD, GOOD)])))
