"""Define the tables of a run's lines: samples, comparisons, PyTorch's answers, and turns.

``docs/history.md`` explains every column. Fields of version 1 have other names and are read as today's fields.
"""

from __future__ import annotations

from harness.results import v1
from harness.results.store import PAIRS, PARITY, REFERENCE, SAMPLES
from harness.results.tables import LineTable

SAMPLE_LINES = LineTable(
    "samples",
    {
        "run": "VARCHAR",
        "order_id": "VARCHAR",
        "workload": "VARCHAR",
        "item": "VARCHAR",
        "phase": "VARCHAR",
        "repetition": "BIGINT",
        "total_ns": "BIGINT",
        "encoder_ns": "BIGINT",
        "prefill_ns": "BIGINT",
        "steps_ns": "BIGINT",
        "steps": "BIGINT",
        "tokens": "BIGINT",
        "text": "VARCHAR",
    },
    (SAMPLES,),
    source={
        "order": "VARCHAR",
        "record": (
            "STRUCT(record VARCHAR, workload VARCHAR, items VARCHAR[], phase VARCHAR, repetition BIGINT, "
            "total_ns BIGINT, parts STRUCT(encoder BIGINT[], prefill BIGINT[], step BIGINT[]), "
            # Version 1.
            "model VARCHAR, encoder_ns BIGINT, prefill_ns BIGINT, step_ns BIGINT[], "
            "outputs STRUCT(token_ids INTEGER[], text VARCHAR)[])"
        ),
    },
    select={
        "order_id": '"order"',
        "workload": "coalesce(record.workload, record.model)",
        "item": "array_to_string(record.items, ' ')",
        "phase": "record.phase",
        "repetition": "record.repetition",
        "total_ns": "record.total_ns",
        "encoder_ns": "coalesce(list_sum(record.parts.encoder), record.encoder_ns)",
        "prefill_ns": "coalesce(list_sum(record.parts.prefill), record.prefill_ns)",
        "steps_ns": "list_sum(coalesce(record.parts.step, record.step_ns))",
        "steps": "len(coalesce(record.parts.step, record.step_ns))",
        "tokens": "list_sum(list_transform(record.outputs, lambda output: len(output.token_ids)))",
        "text": "array_to_string(list_transform(record.outputs, lambda output: output.text), ' ')",
    },
    where="record.record = 'sample' AND record.total_ns IS NOT NULL AND \"order\" IS NOT NULL",
)
_PARITY_COLUMNS = {
    "workload": "VARCHAR",
    "variant": "VARCHAR",
    "passes": "VARCHAR",
    "item": "VARCHAR",
    "label": "VARCHAR",
    "subset": "VARCHAR",
    "verdict": "VARCHAR",
    "detail": "VARCHAR",
    "expected": "VARCHAR",
    "got": "VARCHAR",
    "step": "BIGINT",
    "expected_token": "BIGINT",
    "got_token": "BIGINT",
    "expected_margin": "DOUBLE",
    "got_margin": "DOUBLE",
    "margin_error": "DOUBLE",
    "max_error": "DOUBLE",
    "relative_error": "DOUBLE",
    "ended": "VARCHAR",
    "expected_ended": "VARCHAR",
    "tokens": "BIGINT",
    "tokens_equal": "BIGINT",
    "log_probability": "DOUBLE",
    "expected_log_probability": "DOUBLE",
    "kl": "DOUBLE",
}
# In version 1 these files contained only words, under other names.
_WORDS_OF_BEFORE = {"language": "VARCHAR", "word": "VARCHAR"}
_LABELS = {"label": "coalesce(label, word)", "subset": "coalesce(subset, language)"}
_OF_WORKLOAD = {"workload": f"coalesce(workload, '{v1.G2P}')"}
PARITY_LINES = LineTable(
    "parity",
    {"run": "VARCHAR", **_PARITY_COLUMNS},
    (PARITY,),
    source={**_PARITY_COLUMNS, **_WORDS_OF_BEFORE, "comparison": "VARCHAR"},
    select={name: name for name in _PARITY_COLUMNS}
    | _LABELS
    | _OF_WORKLOAD
    | {
        "variant": "coalesce(variant, split_part(comparison, ', ', 1))",
        "passes": "coalesce(passes, nullif(split_part(comparison, ', ', 2), ''), 'parity')",
    },
    where="coalesce(workload, comparison) IS NOT NULL AND item IS NOT NULL AND verdict IS NOT NULL",
)
_REFERENCE_COLUMNS = {
    "workload": "VARCHAR",
    "item": "VARCHAR",
    "label": "VARCHAR",
    "subset": "VARCHAR",
    "pronunciations": "VARCHAR[]",
    "token_ids": "INTEGER[]",
    "text": "VARCHAR",
    "margins": "DOUBLE[]",
    "output_sha256": "VARCHAR",
    "latency_ns": "BIGINT[]",
}
REFERENCE_LINES = LineTable(
    "reference",
    {"run": "VARCHAR", **_REFERENCE_COLUMNS},
    (REFERENCE,),
    source={**_REFERENCE_COLUMNS, **_WORDS_OF_BEFORE},
    select={name: name for name in _REFERENCE_COLUMNS} | _LABELS | _OF_WORKLOAD,
    where="item IS NOT NULL AND coalesce(label, word) IS NOT NULL",
)

_PAIR_COLUMNS = {
    "workload": "VARCHAR",
    "item": "VARCHAR",
    "round": "BIGINT",
    "first": "VARCHAR",
    "artifact_ns": "BIGINT[]",
    "pytorch_ns": "BIGINT[]",
}
PAIR_LINES = LineTable(
    "pairs",
    {"run": "VARCHAR", **_PAIR_COLUMNS},
    (PAIRS,),
    source={**_PAIR_COLUMNS, "model": "VARCHAR"},
    select={name: f'"{name}"' for name in _PAIR_COLUMNS} | {"workload": "coalesce(workload, model)"},
    where="coalesce(workload, model) IS NOT NULL AND item IS NOT NULL "
    "AND artifact_ns IS NOT NULL AND pytorch_ns IS NOT NULL",
)

LINE_TABLES = (SAMPLE_LINES, PARITY_LINES, REFERENCE_LINES, PAIR_LINES)
