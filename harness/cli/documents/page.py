"""docs/json.md, made from the documents' own classes, so that the page and the programs agree.

python -m harness.cli.documents.page > docs/json.md
"""

from __future__ import annotations

import ast
import inspect
import re
import sys
import textwrap
from typing import Any

from pydantic import BaseModel

from harness.cli.documents import documents
from harness.cli.documents.base import Document, json_schema, schema_of

HEAD = """# JSON documents

Every command that prints a table or facts prints one JSON document with `--json` instead, and nothing else on standard
output; messages and errors stay on standard error, and the exit code is the same ([cli.md](cli.md)).

```sh title="a template"
harness runs --json | jq -r '.runs[] | select(.verdict == "fail") | .run'
harness schema harness.runs/1 > runs.schema.json      # the JSON Schema (draft 2020-12) of a document
```

- `schema` names the kind of document and its version. A version rises when a key changes its meaning or goes away;
  new keys come without a new version, so readers have to ignore unknown keys.
- `harness_version` is the harness that wrote the document.
- The unit of a number is the end of its key: `_ns` nanoseconds, `_bytes` bytes, `_seconds` seconds, `_percent` percent.
  Ratios, changes and shares are plain fractions. Moments are ISO 8601.
- NaN and Infinity never occur; such a number is `null`. If a figure is missing, another key such as `no_ratio`
  has the reason.
- The text is ASCII; other characters are escaped. Keys keep their order.

This page is written by `python -m harness.cli.documents.page > docs/json.md`; a test compares both.
"""


def page() -> str:
    """Return the whole page."""
    return "\n".join([HEAD, *map(_section, documents())])


def _section(kind: type[Document]) -> str:
    schema = json_schema(kind)
    parts = [kind, *_parts(kind)]
    lines = [f"## {schema_of(kind)}", "", _plain(inspect.getdoc(kind) or ""), ""]
    definitions: dict[str, Any] = schema.get("$defs", {})
    for part in parts:
        found = schema if part is kind else definitions.get(part.__name__)
        if found is None:
            continue
        if part is not kind:
            lines += [f"### {part.__name__}", "", *_doc(part)]
        lines += ["| Key | Type | |", "|---|---|---|"]
        comments = _comments(part)
        for key, value in found["properties"].items():
            lines.append(f"| `{key}` | {_type(value, definitions)} | {comments.get(key, '')} |")
        lines.append("")
    return "\n".join(lines)


def _doc(part: type[BaseModel]) -> list[str]:
    text = part.__doc__
    return [_plain(inspect.cleandoc(text)), ""] if text else []


def _plain(text: str) -> str:
    """Return a docstring on one line, in Markdown."""
    return " ".join(text.replace("``", "`").split())


def _parts(kind: type[BaseModel], seen: dict[str, type[BaseModel]] | None = None) -> list[type[BaseModel]]:
    """Return the parts of a document that are this project's own; stored files have pages of their own."""
    seen = {} if seen is None else seen
    for field in kind.model_fields.values():
        for found in _models(field.annotation):
            if found.__name__ not in seen and found.__module__.startswith("harness.cli.documents"):
                seen[found.__name__] = found
                _parts(found, seen)
    return list(seen.values())


def _models(annotation: Any) -> list[type[BaseModel]]:
    if inspect.isclass(annotation) and issubclass(annotation, BaseModel):
        return [annotation]
    return [found for argument in getattr(annotation, "__args__", ()) for found in _models(argument)]


def _comments(part: type[BaseModel]) -> dict[str, str]:
    """Return the text after each key in the class's source; one text after several keys is the last one's."""
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
                found[name] = _plain(str(statement.value.value)).replace("|", "\\|")
                name = None
            else:
                name = None
    return {re.sub("^schema_name$", "schema", key): text for key, text in found.items()}


def _type(value: dict[str, Any], definitions: dict[str, Any]) -> str:
    """Return a type in words; an enumeration by its values, an object by its name."""
    if "anyOf" in value:
        return " or ".join(_type(one, definitions) for one in value["anyOf"])
    if "$ref" in value:
        name = str(value["$ref"]).rpartition("/")[2]
        return _type(definitions[name], definitions) if "enum" in definitions[name] else name
    if "const" in value:
        return f"`{value['const']}`" if isinstance(value["const"], str) else str(value["const"]).lower()
    if "enum" in value:
        return ", ".join(f"`{one}`" for one in value["enum"])
    kind = str(value.get("type", "any"))
    if kind == "array":
        return f"list of {_type(value.get('items', {}), definitions)}"
    if kind == "object":
        of = value.get("additionalProperties", True)
        return f"object of {_type(of, definitions)}" if isinstance(of, dict) else "object"
    return kind


if __name__ == "__main__":
    sys.stdout.write(page())
