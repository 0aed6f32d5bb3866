"""What all documents share: the schema's name, plain numbers, and how they become text.

A document is one JSON value in ASCII. Keys keep their order, moments are ISO 8601, and the unit of a number is the
end of its key: ``_ns`` nanoseconds, ``_bytes`` bytes, ``_seconds`` seconds.
"""

from __future__ import annotations

import importlib.metadata
import json
import math
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

import harness

DISTRIBUTIONS = ("ondevice-harness", "harness")


def harness_version() -> str:
    """Return the version of the installed harness, or of the sources where nothing is installed."""
    found: object = getattr(harness, "__version__", None)
    if isinstance(found, str):
        return found
    return _version_of(DISTRIBUTIONS[0]) or _version_of(DISTRIBUTIONS[1]) or "unknown"


def _version_of(distribution: str) -> str | None:
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return None


def finite(value: Any) -> Any:
    """Return the value with null instead of numbers that JSON has no word for, at any depth."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {str(key): finite(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [finite(one) for one in value]
    return value


Number = Annotated[float | None, BeforeValidator(finite)]
"""A number that may be missing."""
Facts = Annotated[dict[str, Any], BeforeValidator(finite)]
"""An object whose keys depend on the device or the run."""


class Part(BaseModel):
    """A part of a document. Readers ignore keys that they do not know."""

    model_config = ConfigDict(extra="ignore", frozen=True, json_schema_serialization_defaults_required=True)


class Document(Part):
    """What one command prints with ``--json``. Subclasses declare ``schema``, which names the kind and its version.

    The version rises when a key changes its meaning or goes away; new keys do not change it.
    """

    model_config = ConfigDict(serialize_by_alias=True)

    schema_name: str = Field(default="harness.document/1", alias="schema")
    harness_version: str = Field(default_factory=harness_version)
    """The harness that wrote the document."""


def schema_of(document: type[Document]) -> str:
    """Return the name of a kind of document, such as ``harness.runs/1``."""
    return str(document.model_fields["schema_name"].default)


def to_json(document: Document) -> str:
    """Return the document as indented ASCII JSON: no NaN, no Infinity, no control character."""
    return json.dumps(finite(document.model_dump(mode="json", by_alias=True)), indent=1, allow_nan=False)


def json_schema(document: type[Document]) -> dict[str, Any]:
    """Return the JSON Schema (draft 2020-12) of a kind of document."""
    found = document.model_json_schema(mode="serialization", by_alias=True)
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": schema_of(document),
        **{key: value for key, value in found.items() if key != "title"},
    }
