"""docs/json.md, made from the documents' own classes, so that the page and the programs agree.

python -m harness.cli.documents.page > docs/json.md
"""

from __future__ import annotations

import inspect
import sys
from typing import Any

from pydantic import BaseModel

from harness.cli.documents import documents
from harness.cli.documents.base import Document, json_schema, schema_of
from harness.cli.documents.keys import docstring, key_table, parts, plain

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
    definitions: dict[str, Any] = schema.get("$defs", {})
    lines = [f"## {schema_of(kind)}", "", plain(inspect.getdoc(kind) or ""), ""]
    for part in [kind, *parts(kind, _is_own)]:
        found = schema if part is kind else definitions.get(part.__name__)
        if found is None:
            continue
        if part is not kind:
            lines += [f"### {part.__name__}", "", *docstring(part)]
        lines += [*key_table(part, found["properties"], definitions), ""]
    return "\n".join(lines)


def _is_own(part: type[BaseModel]) -> bool:
    """Return whether a part is on this page; stored files have pages of their own."""
    return part.__module__.startswith("harness.cli.documents")


if __name__ == "__main__":
    sys.stdout.write(page())
