"""Describe the keys of documents and stored files in Markdown, from their classes, for pages of the documentation."""

from __future__ import annotations

import ast
import inspect
import re
import textwrap
from collections.abc import Callable
from typing import Any

from pydantic import BaseModel


def key_table(part: type[BaseModel], properties: dict[str, Any], definitions: dict[str, Any]) -> list[str]:
    """Return the lines of a table with each key of a class, its type and its comment."""
    texts = comments(part)
    rows = [
        f"| `{key}` | {type_in_words(value, definitions)} | {texts.get(key, '')} |" for key, value in properties.items()
    ]
    return ["| Key | Type | |", "|---|---|---|", *rows]


def docstring(part: type[BaseModel]) -> list[str]:
    """Return a class's own docstring as a paragraph; nothing if it has none."""
    text = part.__doc__
    return [plain(inspect.cleandoc(text)), ""] if text else []


def plain(text: str) -> str:
    """Return a docstring on one line, in Markdown."""
    return " ".join(re.sub(r":(?:class|mod|func|data):(?=`)", "", text).replace("``", "`").split())


def parts(
    kind: type[BaseModel], belongs: Callable[[type[BaseModel]], bool], seen: dict[str, type[BaseModel]] | None = None
) -> list[type[BaseModel]]:
    """Return the classes of a class's keys, of their keys and so on, as far as they belong to the same page."""
    seen = {} if seen is None else seen
    for field in kind.model_fields.values():
        for found in _models(field.annotation):
            if found.__name__ not in seen and belongs(found):
                seen[found.__name__] = found
                parts(found, belongs, seen)
    return list(seen.values())


def _models(annotation: Any) -> list[type[BaseModel]]:
    if inspect.isclass(annotation) and issubclass(annotation, BaseModel):
        return [annotation]
    return [found for argument in getattr(annotation, "__args__", ()) for found in _models(argument)]


def comments(part: type[BaseModel]) -> dict[str, str]:
    """Return the text behind each key in the class's source; one text behind several keys is the last one's."""
    found: dict[str, str] = {}
    for base in reversed([one for one in part.__mro__ if issubclass(one, BaseModel) and one is not BaseModel]):
        if not base.__module__.startswith("harness."):
            continue
        (parsed,) = ast.parse(textwrap.dedent(inspect.getsource(base))).body
        assert isinstance(parsed, ast.ClassDef)
        name = None
        for statement in parsed.body:
            if isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name):
                name = statement.target.id
            elif name and isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant):
                found[name] = plain(str(statement.value.value)).replace("|", "\\|")
                name = None
            else:
                name = None
    return {re.sub("^schema_name$", "schema", key): text for key, text in found.items()}


def type_in_words(value: dict[str, Any], definitions: dict[str, Any]) -> str:
    """Return a type in words; an enumeration by its values, an object by its name."""
    if choices := value.get("anyOf") or value.get("oneOf"):
        return " or ".join(type_in_words(one, definitions) for one in choices)
    if "$ref" in value:
        name = str(value["$ref"]).rpartition("/")[2]
        return type_in_words(definitions[name], definitions) if "enum" in definitions[name] else name
    if "const" in value:
        return f"`{value['const']}`" if isinstance(value["const"], str) else str(value["const"]).lower()
    if "enum" in value:
        return ", ".join(f"`{one}`" for one in value["enum"])
    kind = str(value.get("type", "any"))
    if kind == "array" and "prefixItems" in value:
        return f"list of {' and '.join(type_in_words(one, definitions) for one in value['prefixItems'])}"
    if kind == "array":
        return f"list of {type_in_words(value.get('items', {}), definitions)}"
    if kind == "object":
        of = value.get("additionalProperties", True)
        return f"object of {type_in_words(of, definitions)}" if isinstance(of, dict) else "object"
    return kind
