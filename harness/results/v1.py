"""Translate stored data of version 1 to today's fields: runs, nightly runs and baselines.

Version 1 separated G2P from every other model. G2P had a checkpoint, words and a summary of its own in the run, and
files of its own for answers. Its variants stood where other models had their names. Everything here is parsed JSON;
data in today's form is returned unchanged. Orders and records are stored as they went to and came from a runner, and
:mod:`harness.protocol.v1` reads them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from harness.protocol.v1 import upgraded_record

G2P = "g2p"
MODEL_REFERENCE, MODEL_PARITY = "model_reference.jsonl", "model_parity.jsonl"
"""The files with the answers of all models but G2P."""
_KINDS = {True: "tensor", False: "generation"}
Stored = dict[str, Any]


def manifest(stored: Stored) -> Stored:
    """Return a run's manifest."""
    if stored.get("schema_version", 1) != 1 or "workloads" in stored:
        return stored
    found = {key: value for key, value in stored.items() if key not in ("checkpoint", "words", "models", "allowance")}
    found |= {"policy": stored["allowance"]} if "allowance" in stored else {}
    checkpoint, words, models = (stored.get(key) or {} for key in ("checkpoint", "words", "models"))
    workloads = {G2P: _words_facts(checkpoint, words)} if checkpoint or words else {}
    found["workloads"] = workloads | {name: _model_facts(name, facts) for name, facts in models.items()}
    found["orders"] = [_order(entry, models) for entry in stored.get("orders", [])]
    return found


def summary(stored: Stored) -> Stored:
    """Return a run's summary."""
    if stored.get("schema_version", 1) != 1 or "workloads" in stored:
        return stored
    own = ("parity", "accuracy", "artifact", "pytorch", "ratio")
    found = {key: value for key, value in stored.items() if key not in (*own, "models")}
    models = {name: _model_summary(name, one) for name, one in (stored.get("models") or {}).items()}
    words = {G2P: _words_summary(stored)} if any(stored.get(key) for key in own) else {}
    return {**found, "workloads": {**words, **models}}


def reference_line(stored: Stored) -> Stored:
    """Return a line of ``reference.jsonl`` or ``model_reference.jsonl``."""
    return _line(stored)


def parity_line(stored: Stored) -> Stored:
    """Return a line of ``parity.jsonl`` or ``model_parity.jsonl``."""
    if "workload" in stored or "comparison" not in stored:
        return stored
    name, _, passes = str(stored["comparison"]).partition(", ")
    found = {key: value for key, value in stored.items() if key != "comparison"}
    if not found.get("detail"):
        found["detail"] = None
    return {**_line(found), "variant": "" if "model" in stored else name, "passes": passes or "parity"}


def of_workload(stored: Stored) -> Stored:
    """Return data whose ``model`` is now ``workload``: turns with PyTorch."""
    if "workload" in stored:
        return stored
    return {"workload": stored.get("model", G2P), **{key: value for key, value in stored.items() if key != "model"}}


def profile(stored: Stored) -> Stored:
    """Return one model's profile."""
    found = of_workload(stored)
    return found if "unit" in found else {**found, "unit": "word" if found["workload"] == G2P else "item"}


def counted(stored: Stored) -> Stored:
    """Return figures with ``items`` for ``words``. Version 1 used ``words`` for the items of other models, too."""
    return {"items" if key == "words" else key: value for key, value in stored.items()}


def sample_line(stored: Stored) -> Stored:
    """Return a line of ``samples.jsonl`` or ``profile.jsonl``, with the record's fields of today."""
    record = stored.get("record")
    if not isinstance(record, dict) or "model" not in record or "workload" in record:
        return stored
    return {**stored, "record": upgraded_record(record)}


def nightly_unit(stored: Stored) -> Stored:
    """Return a unit of a nightly run's plan."""
    return {"policy" if key == "allowance" else key: value for key, value in stored.items()}


def nightly_run_line(stored: Stored) -> Stored:
    """Return a run's line of a nightly run's journal, with its parts by name.

    Version 1 listed encoder, prefill, the total time of all steps, and their number, in this order.
    """
    parts = stored.get("parts")
    if not isinstance(parts, list) or not any(isinstance(one, list) for one in parts):
        return stored
    return {**stored, "parts": [_by_name(*one) if isinstance(one, list) and len(one) == 4 else one for one in parts]}


def baseline(stored: Stored) -> Stored:
    """Return a baseline. Version 1 separated G2P's variants from all other models."""
    if "timed" in stored or "variants" not in stored:
        return stored
    found = {key: value for key, value in stored.items() if key not in ("variants", "models")}
    words = {name: {**kept, "workload": G2P, "variant": name} for name, kept in stored["variants"].items()}
    models = {name: {**kept, "workload": name} for name, kept in (stored.get("models") or {}).items()}
    return {**found, "timed": {**words, **models}}


def profiles(stored: Stored) -> Stored:
    """Return ``profile.json``. Its version 2 had ``models`` in it, and its version 1 was one model's summary itself."""
    listed = [stored] if "sites" in stored else stored.get("models")
    return stored if listed is None else {"workloads": listed}


def _by_name(encoder: Any, prefill: Any, step: Any, steps: Any) -> dict[str, list[Any]]:
    found = {"encoder": [encoder, 1], "prefill": [prefill, 1], "step": [step, steps]}
    return {name: spent for name, spent in found.items() if spent[0]}


def _words_facts(checkpoint: Stored, words: Stored) -> Stored:
    return {
        "kind": "generation",
        "source": G2P,
        "label": checkpoint.get("label", "?"),
        "weights_sha256": checkpoint.get("sha256", ""),
        "items": words.get("count", 0),
        "unit": "word",
        "items_of": words.get("of"),
        "items_source": words.get("source"),
        "items_sha256": words.get("sha256"),
        "subsets": words.get("languages", []),
        "compare": "tokens",
    }


def _model_facts(name: str, facts: Stored) -> Stored:
    kept = ("source", "weights_sha256", "parameters", "items", "compare", "comparison")
    return {"kind": "tensor", "label": name, **{key: facts[key] for key in kept if key in facts}}


def _order(entry: Stored, models: Mapping[str, Any]) -> Stored:
    name = entry["variant"]
    return {**entry, "workload": name, "variant": ""} if name in models else {**entry, "workload": G2P}


def _line(stored: Stored) -> Stored:
    if "workload" in stored:
        return stored
    named = {"model": "workload", "word": "label", "language": "subset"}
    found = {named.get(key, key): value for key, value in stored.items()}
    return {"workload": G2P, "label": found.get("item"), **found}


def _words_summary(stored: Stored) -> Stored:
    artifact = stored.get("artifact") or {}
    parts = {"encoder": "encoder", "prefill": "prefill", "step": "steps", "other": "other"}
    return {
        "kind": "generation",
        "parity": {name: _parity(found) for name, found in (stored.get("parity") or {}).items()},
        "accuracy": {
            who: {subset: counted(one) for subset, one in found.items()}
            for who, found in (stored.get("accuracy") or {}).items()
        },
        "variant": artifact.get("variant", ""),
        "warm": _latency(artifact.get("warm")),
        "parts": {name: artifact[key] for name, key in parts.items() if artifact.get(key) is not None},
        **{key: artifact.get(key) for key in ("cold_load", "first", "peak_bytes")},
        "pytorch": _latency(stored.get("pytorch")),
        "ratio": stored.get("ratio"),
    }


def _model_summary(name: str, stored: Stored) -> Stored:
    """Return a tensor workload's summary. Version 1 counted the answers of all its passes together."""
    kept = ("by_item", "cold_load", "first", "peak_bytes", "ratio")
    figures = ("items", "by_verdict", "failures", "max_error", "relative_error")
    parity = {key: stored[key] for key in figures if key in stored} | {"by_subset": {}}
    # Each failure began with its comparison.
    parity["failures"] = [str(line).partition(": ")[2] for line in stored.get("failures", [])]
    return {
        "kind": "tensor",
        "parity": {name: parity} if stored.get("items") else {},
        **{key: stored[key] for key in kept if key in stored},
    }


def _parity(stored: Stored) -> Stored:
    found = counted(stored)
    return {"by_subset": found.pop("by_language", {}), **found}


def _latency(stored: Stored | None) -> Stored | None:
    if stored is None:
        return None
    return {"items_per_second" if key == "words_per_second" else key: value for key, value in counted(stored).items()}
