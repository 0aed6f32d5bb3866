"""Define the options and arguments that several commands share, with one name each (docs/cli.md)."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperCommand

from harness.cli import completion
from harness.core.errors import UsageError
from harness.core.text import quoted
from harness.results.store import Store

DEFAULT_RESULTS = Path("results")
RUN_HELP = "run id, its unique beginning, latest, or latest~1 for the one before"
FIRST_RUN = "make a first run: pytest suites --device host"


class ResultsMissing(UsageError):
    """The folder of the runs does not exist or cannot be read."""


class NoFileName(UsageError):
    """The value of an option for a file looks like something else."""


def existing(results_dir: Path) -> Path:
    """Return the folder of stored runs if it can be read; raises ResultsMissing."""
    try:
        next(results_dir.iterdir(), None)
    except FileNotFoundError:
        cure = "name the folder of your runs with --results-dir"
        if results_dir == DEFAULT_RESULTS:
            cure = f"{FIRST_RUN}; or {cure}"
        raise ResultsMissing(f"there is no folder {quoted(results_dir)} with stored runs", cure=cure) from None
    except NotADirectoryError:
        raise ResultsMissing(f"{quoted(results_dir)} is a file", cure="name a folder with --results-dir") from None
    except OSError as error:
        raise ResultsMissing(
            f"{quoted(results_dir)} cannot be read: {error.strerror}", cure="name another folder with --results-dir"
        ) from None
    return results_dir


def _existing(context: typer.Context, value: Path) -> Path:
    # The results of everybody are read instead of the folder's, which need not be there then.
    return value if context.resilient_parsing or context.params.get("results_url") else existing(value)


def stored(results_dir: Path, results_url: str | None) -> Store:
    """Return the runs of a folder, or those of a results store if one is named.

    Raises LabMisuse, PackageMissing or StoreFailed.
    """
    if results_url is None:
        return Store(results_dir)
    from harness.results.shared import shared_store

    return shared_store(results_url)


def _file_name(context: typer.Context, value: Path | None) -> Path | None:
    """Refuse a value that is more likely an argument after a bare ``--markdown``."""
    if value is None or context.resilient_parsing or value == Path("-"):
        return value
    if not value.suffix and len(value.parts) == 1:
        raise NoFileName(
            f"--markdown takes a file, and {quoted(value)} has no suffix",
            cure=f"write --markdown last or as --markdown=-, or name the file ./{value}.md",
        )
    return value


ResultsDir = Annotated[
    Path,
    typer.Option("--results-dir", metavar="DIR", help="folder of the runs", show_default=True, callback=_existing),
]
AnyResultsDir = Annotated[
    Path, typer.Option("--results-dir", metavar="DIR", help="folder of the runs", show_default=True)
]
"""An option for commands that can do without the folder."""
ResultsUrl = Annotated[
    str | None,
    typer.Option(
        "--results-url",
        metavar="URL",
        help="read the results of everybody there instead: s3://BUCKET/PREFIX or file:///FOLDER",
        show_default=False,
        is_eager=True,
    ),
]
"""An option of commands that read runs. The environment's address is not read here: it is for uploads."""
UploadTo = typer.Option(
    "--results-url",
    metavar="URL",
    help="the store for the results of everybody (or HARNESS_RESULTS_URL)",
    show_default=False,
)
"""An option of commands that write to a results store."""
Json = Annotated[bool, typer.Option("--json", help="print one JSON document instead (docs/json.md)")]
RunName = Annotated[str, typer.Argument(metavar="RUN", help=RUN_HELP, autocompletion=completion.runs)]
Markdown = Annotated[
    Path | None,
    typer.Option(
        "--markdown",
        metavar="FILE",
        help="append the report as Markdown to FILE; alone or with -, print it instead",
        callback=_file_name,
        show_default=False,
    ),
]
OutputDir = typer.Option("--output-dir", metavar="DIR", help="folder that the files are written to")


def _with_file(arguments: list[str]) -> list[str]:
    """Give a bare ``--markdown`` its file, ``-``."""
    found = []
    for at, argument in enumerate(arguments):
        found.append(argument)
        following = arguments[at + 1] if at + 1 < len(arguments) else None
        if argument == "--markdown" and (following is None or (following.startswith("-") and following != "-")):
            found[-1] = "--markdown=-"
    return found


class MarkdownCommand(TyperCommand):
    """Define a command with ``--markdown``, whose file may be left out."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        return super().parse_args(ctx, _with_file(args))
