"""Translate orders and records of version 1, which older runners read and write, to the current version and back.

Everything here is parsed JSON, so that it depends on no schema. Version 1 separated two kinds of models (``models``
with words, and ``tensor_models``), and had a field for each part of a generation's time.
"""

from __future__ import annotations

import json
import re
from typing import Any

_PARTS = {"encoder": "encoder_ns", "prefill": "prefill_ns", "step": "step_ns"}
_PROMPT = re.compile(r"<([^>]*)>:( ?)(.*)", re.DOTALL)


def upgraded_order(order: dict[str, Any]) -> dict[str, Any]:
    """Return an order of version 1 with today's fields; its ``schema_version`` stays 1."""
    found = dict(order)
    generations, tensors = found.pop("models"), found.pop("tensor_models", [])
    words, calls = found.pop("items", []), found.pop("tensor_items", [])
    spaces = {model.get("name"): " " if model.get("prompt_space", True) else "" for model in generations}
    found["schema_version"] = 1
    found["workloads"] = [_generation(model) for model in generations] + [_tensor(model) for model in tensors]
    found["items"] = [_word(item, spaces.get(item.get("model"), " ")) for item in words]
    found["items"] += [{"id": call["id"], "workload": call["model"], "input": call["inputs"]} for call in calls]
    return found


def downgraded_order(order: dict[str, Any]) -> dict[str, Any]:
    """Return an order of today with the fields of version 1.

    Version 1 had only prompts of the form ``<language>: word``, so only they can be translated back.
    """
    found = dict(order)
    workloads, items = found.pop("workloads"), found.pop("items")
    kinds = {workload["name"]: workload["kind"] for workload in workloads}
    prompts = {item["workload"]: item.get("input") for item in items}
    found["models"] = [_old_generation(one, prompts) for one in workloads if one["kind"] == "generation"]
    found["items"] = [_old_word(item) for item in items if kinds[item["workload"]] == "generation"]
    found["tensor_models"] = [
        {"name": one["name"], "prefix": one["functions"]["main"], "inputs": one["inputs"], "outputs": one["outputs"]}
        for one in workloads
        if one["kind"] == "tensor"
    ]
    found["tensor_items"] = [
        {"id": item["id"], "model": item["workload"], "inputs": item.get("input")}
        for item in items
        if kinds[item["workload"]] == "tensor"
    ]
    return found


def upgraded_record(record: dict[str, Any]) -> dict[str, Any]:
    """Return a record of version 1 with today's fields."""
    found = {"workload" if key == "model" else key: value for key, value in record.items() if key not in _OLD_PARTS}
    if found.get("record") == "sample":
        parts = {name: record.get(key) for name, key in _PARTS.items()}
        calls = {name: taken if isinstance(taken, list) else [taken] for name, taken in parts.items()}
        # In version 1 a tensor workload had an encoder time of zero.
        nothing: tuple[Any, ...] = (0, None, [])
        found["parts"] = {} if all(taken in nothing for taken in parts.values()) else _made(calls)
    return found


_OLD_PARTS = frozenset(_PARTS.values())


def _made(calls: dict[str, list[Any]]) -> dict[str, list[Any]]:
    return {name: taken for name, taken in calls.items() if taken not in ([None], [])}


def upgraded_line(line: str | bytes) -> str | None:
    """Return a line of version 1 with today's fields; None if it is no line of version 1."""
    try:
        record = json.loads(line)
    except (ValueError, RecursionError):
        return None
    if not isinstance(record, dict) or "model" not in record or "workload" in record:
        return None
    return json.dumps(upgraded_record(record))


def _generation(model: dict[str, Any]) -> dict[str, Any]:
    kept = {key: value for key, value in model.items() if key not in ("kind", "prefixes", "prompt_space")}
    return {**kept, "kind": "generation", "functions": model["prefixes"]}


def _tensor(model: dict[str, Any]) -> dict[str, Any]:
    kept = {key: value for key, value in model.items() if key != "prefix"}
    return {**kept, "kind": "tensor", "functions": {"main": model["prefix"]}}


def _word(item: dict[str, Any], space: str) -> dict[str, Any]:
    language, word = item["language"], item["word"]
    prompt = f"<{language}>:{space}{word}"
    return {"id": item["id"], "workload": item["model"], "input": prompt, "label": word, "subset": language}


def _old_generation(workload: dict[str, Any], prompts: dict[str, Any]) -> dict[str, Any]:
    kept = {key: value for key, value in workload.items() if key not in ("kind", "functions")}
    found = _PROMPT.fullmatch(str(prompts.get(workload["name"], "<>: ")))
    return {
        **kept,
        "kind": "g2p",
        "prefixes": workload["functions"],
        "prompt_space": found is None or bool(found[2]),
    }


def _old_word(item: dict[str, Any]) -> dict[str, Any]:
    found = _PROMPT.fullmatch(str(item.get("input")))
    language, word = (found[1], found[3]) if found else (item.get("subset", ""), item.get("label", ""))
    return {"id": item["id"], "model": item["workload"], "language": language, "word": word}
