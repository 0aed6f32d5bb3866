"""Which layers a failed run of fewer bits names."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pytest

from harness.compiler.observe.provenance import LayerError
from harness.results import Manifest, RunVerdict, Summary, VariantFacts, WorkloadSummary
from harness.results.schema import ParitySummary
from harness.results.widening import layers_to_widen, widening_text
from harness.validate import Verdict


def manifest(**variants: Mapping[str, float]) -> Manifest:
    """Return a run of G2P with these errors of layers, by variant."""
    facts = {
        name: VariantFacts(
            archive_sha256="",
            archive_bytes=0,
            runner_sha256="",
            runner_bytes=0,
            target="llvm",
            rounding={"g2p": [LayerError(layers=[layer, "beside"], error=error) for layer, error in errors.items()]},
        )
        for name, errors in variants.items()
    }
    return Manifest(run_id="r", started="s", options={"precision": "int8"}, variants=facts)


def summary(**failed: int) -> WorkloadSummary:
    """Return G2P's figures, with the number of failures by comparison."""
    parity = {
        name: ParitySummary(items=9, by_verdict={Verdict.MISMATCH: count}, by_subset={}, failures=[])
        for name, count in failed.items()
    }
    return WorkloadSummary(kind="generation", parity=parity)


@pytest.mark.parametrize(
    ("errors", "named"),
    [
        ({"a": 0.01, "b": 0.3, "c": 0.02}, ["b"]),
        ({"a": 0.011, "b": 0.01, "c": 0.012, "d": 0.013, "e": 0.009}, ["d", "c", "a"]),
        ({"a": 0.01, "b": 0.004}, ["a"]),
        ({"a": 0.0}, []),
        ({}, []),
    ],
)
def test_the_worst_layers_and_those_near_them_are_named(errors: Mapping[str, float], named: Sequence[str]) -> None:
    found = layers_to_widen(manifest(cache=errors), "g2p", summary(cache=1))
    assert [one.layer for one in found] == named


def test_what_stays_wide_already_is_not_named() -> None:
    run = manifest(cache={"a": 0.1, "b": 0.2})
    (one, other) = run.variants["cache"].rounding["g2p"]
    layers = {"g2p": [one, other.model_copy(update={"kept": True})]}
    kept = run.variants["cache"].model_copy(update={"rounding": layers})
    run = run.model_copy(update={"variants": {"cache": kept}})
    assert [one.layer for one in layers_to_widen(run, "g2p", summary(cache=1))] == ["a"]


def test_they_are_those_of_the_variant_that_failed() -> None:
    run = manifest(cache={"step": 0.1}, cacheless={"decoder": 0.2})
    assert [one.layer for one in layers_to_widen(run, "g2p", summary(cache=0, cacheless=2))] == ["decoder"]
    assert [one.layer for one in layers_to_widen(run, "g2p", summary(cache=2, cacheless=0))] == ["step"]
    assert layers_to_widen(run, "another", summary(cache=2)) == []


def test_the_line_has_each_error_and_each_option() -> None:
    run = manifest(cache={"step/a": 0.0312, "step/*b": 0.02})
    wide = layers_to_widen(run, "g2p", summary(cache=1))
    text = widening_text(run, Summary(verdict=RunVerdict.FAIL, reasons=[], keep_wide=wide))
    assert text == (
        "int8 costs most in step/a (3.1% of its results), step/*b (2.0% of its results); "
        "keep wide what costs most: --keep-wide step/a --keep-wide 'step/*b'"
    )
    assert widening_text(run, Summary(verdict=RunVerdict.PASS, reasons=[])) is None
