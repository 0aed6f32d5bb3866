"""Define ``harness schema``: the JSON Schemas of the documents that commands print with ``--json``."""

from __future__ import annotations

import json
import sys
from typing import Annotated

import typer

from harness.cli.app import app
from harness.cli.documents.base import json_schema, schema_of
from harness.cli.documents.files import SchemaRow, SchemasDocument
from harness.cli.options import Json
from harness.cli.output import print_json, print_table
from harness.core.errors import UsageError


@app.command(epilog="Examples:\n\n  harness schema\n\n  harness schema harness.runs/1 > runs.schema.json")
def schema(
    name: Annotated[str | None, typer.Argument(metavar="NAME", help="such as harness.runs/1")] = None,
    as_json: Json = False,
) -> None:
    """List the documents that --json prints, or print the JSON Schema of one."""
    # Imported here because the documents of all commands together bring most of the harness along.
    from harness.cli.documents import documents

    known = {schema_of(kind): kind for kind in documents()}
    if name is None:
        rows = [SchemaRow(schema=key, printed_by=(found.__doc__ or "").split(":")[0]) for key, found in known.items()]
        if as_json:
            print_json(SchemasDocument(schemas=rows))
        else:
            print_table(("schema", "printed by"), [(row.schema_name, row.printed_by.replace("`", "")) for row in rows])
        return
    found = known.get(name)
    if found is None:
        raise UsageError(f"there is no document {name!r}", cure="harness schema lists them")
    sys.stdout.write(json.dumps(json_schema(found), indent=1) + "\n")
