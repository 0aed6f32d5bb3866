"""Does it run at all? The runner starts, holds the model, and gets through a few words."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from harness.protocol.schema import Load, Sample

if TYPE_CHECKING:
    from harness.run.session import RunSession


@pytest.mark.harness_step("describe")
def test_the_runner_starts_and_holds_the_archive(harness_run: RunSession, harness_facts: dict[str, Any]) -> None:
    variant = harness_run.options.variant
    metadata = harness_run.runner(variant).archive.metadata
    said = harness_run.describe(variant)
    assert said.archive_sha256 == metadata.archive_sha256
    assert metadata.prefix_base in said.prefixes


@pytest.mark.harness_step("smoke")
def test_every_function_loads_and_a_few_words_run(harness_run: RunSession) -> None:
    variant = harness_run.options.variant
    result = harness_run.generation.smoke(variant).require_complete()
    loaded = {record.function for record in result.records if isinstance(record, Load)}
    assert loaded == set(harness_run.runner(variant).archive.metadata.prefixes)
    said = [output for record in result.records if isinstance(record, Sample) for output in record.outputs]
    assert all(output.token_ids for output in said)
