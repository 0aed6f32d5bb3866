"""The reference of stored files: every key of them from the classes that write and read them, and JSON Schemas."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, TypeAdapter

from harness.cli.documents import documents
from harness.cli.documents.base import json_schema, schema_of
from harness.cli.documents.keys import docstring, key_table, parts
from harness.compiler.metadata import ArchiveMetadata
from harness.compiler.observe.provenance import Provenance
from harness.explain.schema import Explanation
from harness.native.apps.manifest import Manifest as PackageManifest
from harness.protocol.schema import Record, WorkOrder
from harness.results import journal
from harness.results.baselines import Baseline
from harness.results.nightly import Verdicts
from harness.results.schema import Manifest, PairLine, ParityLine, ReferenceLine, SampleLine, Summary
from harness.results.schema.profile import ProfileLine, Profiles
from tools.docs_site.text import link

FOLDER = "reference/files"
SCHEMAS = "reference/schemas"
DIALECT = "https://json-schema.org/draft/2020-12/schema"


@dataclass(frozen=True)
class Format:
    """Describe a format: the file's name, what it is called, and the classes of it or of its lines."""

    file: str
    text: str
    schema: str
    kinds: tuple[type[BaseModel], ...]
    lines: bool = False
    """Whether the file has a JSON document on each line."""

    @property
    def schema_path(self) -> str:
        return f"{SCHEMAS}/{self.schema}.json"

    def json_schema(self) -> dict[str, Any]:
        """Return the JSON Schema of what readers take: older files lack some keys, which then have their defaults."""
        union = self.kinds[0]
        for kind in self.kinds[1:]:
            union = union | kind  # type: ignore[assignment]
        found = TypeAdapter(union).json_schema(by_alias=True)
        return {"$schema": DIALECT, "title": self.schema, **{key: one for key, one in found.items() if key != "title"}}


@dataclass(frozen=True)
class Page:
    """Describe a page of formats."""

    name: str
    title: str
    text: str
    formats: tuple[Format, ...]

    @property
    def path(self) -> str:
        return f"{FOLDER}/{self.name}.md"


_RECORDS: tuple[type[BaseModel], ...] = Record.__origin__.__args__  # type: ignore[attr-defined]

PAGES = (
    Page(
        "run",
        "Files of a run",
        "The folder `results/RUN`. [Stored runs](../../results.md) explains who writes what, and when.",
        (
            Format("manifest.json", "what was run, on what, with what", "manifest", (Manifest,)),
            Format("summary.json", "the verdict and all figures", "summary", (Summary,)),
            Format("samples.jsonl", "each record of the runner, as it arrived", "samples", (SampleLine,), True),
            Format("reference.jsonl", "PyTorch's answers", "reference", (ReferenceLine,), True),
            Format("parity.jsonl", "each comparison", "parity", (ParityLine,), True),
            Format("pairs.jsonl", "times taken in turns with PyTorch", "pairs", (PairLine,), True),
            Format("profile.jsonl", "the records of `--profile`", "profile-lines", (ProfileLine,), True),
            Format("profile.json", "time per operator and module", "profile", (Profiles,)),
            Format("explain/….json", "an explanation of one item", "explanation", (Explanation,)),
        ),
    ),
    Page(
        "orders",
        "Work orders and records",
        "What a device is asked and what it answers. [The runner's protocol](../../protocol.md) explains the order of "
        "records, and what is refused.",
        (
            Format("orders/….json", "a work order", "work-order", (WorkOrder,)),
            Format(
                "result.jsonl", "the records of a runner; `record` names the kind of each", "record", _RECORDS, True
            ),
        ),
    ),
    Page(
        "nightly",
        "Baselines and nightly runs",
        "The folders `baselines` and `nightly` beside the runs. [Measuring](../../measuring.md) explains them.",
        (
            Format("baselines/NAME.json", "a run that is kept to be measured again", "baseline", (Baseline,)),
            Format("plan.json", "what a nightly run measures", "nightly-plan", (journal.Plan,)),
            Format(
                "journal.jsonl",
                "each run of a nightly run, in its order",
                "nightly-journal",
                (journal.RunLine, journal.GivenUpLine, journal.BrokenLine),
                True,
            ),
            Format("verdicts.json", "what was decided", "nightly-verdicts", (Verdicts,)),
        ),
    ),
    Page(
        "archive",
        "Archives and packages",
        "What `harness compile` and `harness package` write beside the library. [system_lib_metadata.json]"
        "(../../metadata.md) and [models in an app](../../apps.md) explain them.",
        (
            Format("system_lib_metadata.json", "the models of an archive", "archive-metadata", (ArchiveMetadata,)),
            Format("provenance.json", "what each kernel stands for", "provenance", (Provenance,)),
            Format("manifest.json", "the files of a package for an app", "package-manifest", (PackageManifest,)),
        ),
    ),
)


def pages() -> dict[str, str]:
    """Return the pages and the schemas by their path in docs."""
    found = {page.path: "\n".join(_page(page)) for page in PAGES}
    found[f"{FOLDER}/index.md"] = "\n".join(_index())
    for one in (format for page in PAGES for format in page.formats):
        found[one.schema_path] = json.dumps(one.json_schema(), indent=1) + "\n"
    for kind in documents():
        found[_document_path(schema_of(kind))] = json.dumps(json_schema(kind), indent=1) + "\n"
    return found


def _document_path(name: str) -> str:
    return f"{SCHEMAS}/{name.replace('/', '-')}.json"


def _index() -> Iterator[str]:
    path = f"{FOLDER}/index.md"
    yield from [
        "# File formats",
        "",
        "Everything that the harness stores is JSON, or JSON on each line. The schemas (JSON Schema, draft 2020-12) "
        "are made from the classes that write and read the files. Readers ignore keys that they do not know; times "
        "are nanoseconds, sizes bytes, moments ISO 8601 in UTC.",
        "",
        "| File | Holds | Schema |",
        "|---|---|---|",
    ]
    for page in PAGES:
        for one in page.formats:
            yield f"| [`{one.file}`]({page.name}.md) | {one.text} | {_schema_link(one.schema, one.schema_path, path)} |"
    yield from ["", "## Documents of `--json`", ""]
    yield f"[JSON documents]({link('json.md', path)}) explains every key; `harness schema NAME` prints a schema, too."
    yield from ["", "| Document | Schema |", "|---|---|"]
    for kind in documents():
        name = schema_of(kind)
        anchor = re.sub(r"[^\w-]", "", name)
        yield (
            f"| [`{name}`]({link('json.md', path)}#{anchor}) "
            f"| {_schema_link(name.replace('/', '-'), _document_path(name), path)} |"
        )
    yield ""


def _schema_link(name: str, target: str, page: str) -> str:
    return f"[{name}.json]({link(target, page)})"


def _page(page: Page) -> Iterator[str]:
    yield from [f"# {page.title}", "", page.text, ""]
    shown: set[str] = set()
    for one in page.formats:
        yield from [f"## {one.file}", "", f"{one.text[0].upper()}{one.text[1:]}. "]
        subject = "Each line has" if one.lines else "It has"
        yield f"{subject} the schema {_schema_link(one.schema, one.schema_path, page.path)}."
        yield ""
        schema = one.json_schema()
        definitions: dict[str, Any] = schema.get("$defs", {})
        for kind in one.kinds:
            if len(one.kinds) > 1:
                yield from [f"### {kind.__name__}", ""]
            yield from docstring(kind)
            found = schema if "properties" in schema else definitions[kind.__name__]
            yield from [*key_table(kind, found["properties"], definitions), ""]
            for part in parts(kind, lambda part: part.__module__.startswith("harness.")):
                if (
                    part.__name__ in shown
                    or part in one.kinds
                    or "properties" not in definitions.get(part.__name__, {})
                ):
                    continue
                shown.add(part.__name__)
                yield from [f"### {part.__name__}", "", *docstring(part)]
                yield from [*key_table(part, definitions[part.__name__]["properties"], definitions), ""]
