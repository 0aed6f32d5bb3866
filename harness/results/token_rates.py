"""Sum up how fast a language model took its prompts and gave its tokens."""

from __future__ import annotations

import statistics
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence

from harness.protocol.schema import AnyRecord, Phase, Sample
from harness.results.schema import ItemLatency, TokenRates


def with_rates(found: Mapping[str, ItemLatency], records: Iterable[AnyRecord]) -> dict[str, ItemLatency]:
    """Return the latencies with the rates of items whose records count a prompt's tokens."""
    taken: dict[str, list[TokenRates]] = defaultdict(list)
    for record in records:
        if isinstance(record, Sample) and record.phase is Phase.TIMED and (found_rates := _rates(record)) is not None:
            taken[record.items[0]].append(found_rates)
    return {
        item: latency.model_copy(update={"tokens": _usual(taken[item])}) if item in taken else latency
        for item, latency in found.items()
    }


def _rates(sample: Sample) -> TokenRates | None:
    steps = sample.parts.get("step", [])
    first = sample.part_ns("prefill") + (steps[0] if steps else 0)
    if sample.prompt_tokens is None or not first:
        return None
    after = sum(steps[1:])
    return TokenRates(
        prompt=sample.prompt_tokens,
        new=len(steps),
        first_token=first,
        prefill=sample.prompt_tokens / first * 1e9,
        decode=(len(steps) - 1) / after * 1e9 if after else None,
    )


def _usual(samples: Sequence[TokenRates]) -> TokenRates:
    """Return the medians of one item's rates; its numbers of tokens are the same in all samples."""
    decode = [one.decode for one in samples if one.decode is not None]
    return samples[0].model_copy(
        update={
            "first_token": statistics.median(one.first_token for one in samples),
            "prefill": statistics.median(one.prefill for one in samples),
            "decode": statistics.median(decode) if decode else None,
        }
    )
