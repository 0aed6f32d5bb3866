"""The reference of the command line, a page for each command, from the application that typer makes."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import typer

from harness.cli.app import app, load_commands
from tools.docs_site.text import code, paragraphs, plain, sentence

FOLDER = "reference/commands"


def pages() -> dict[str, str]:
    """Return the pages by their path in docs."""
    load_commands()
    root: Any = typer.main.get_command(app)
    with root.make_context("harness", [], resilient_parsing=True) as context:
        names = [name for name in sorted(root.commands) if not root.commands[name].hidden]
        found = {f"{FOLDER}/index.md": _index(root, names)}
        for name in names:
            path = f"{FOLDER}/{name}.md"
            found[path] = "\n".join(_command(root.commands[name], name, context, path, level=1)) + "\n"
    return found


def _index(root: Any, names: list[str]) -> str:
    path = f"{FOLDER}/index.md"
    lines = ["# Commands", "", *paragraphs(root.help or "", path), "", "| Command | Does |", "|---|---|"]
    lines += [f"| [`harness {name}`]({name}.md) | {plain(_first(root.commands[name]), path)} |" for name in names]
    return "\n".join([*lines, "", *_epilog(root, path)]) + "\n"


def _first(command: Any) -> str:
    return str(command.help or "").split("\n\n")[0]


def _command(command: Any, name: str, parent: Any, page: str, level: int) -> Iterator[str]:
    """Yield the lines of a command, and below it those of its commands."""
    with command.make_context(name, [], parent=parent, resilient_parsing=True) as context:
        yield f"{'#' * level} harness {context.command_path.removeprefix('harness ')}"
        yield ""
        for paragraph in paragraphs(command.help or "", page):
            yield paragraph
            yield ""
        yield from ["```", context.get_usage().removeprefix("Usage: "), "```", ""]
        yield from _parameters(command, context, page)
        yield from _epilog(command, page)
        for one in command.list_commands(context) if hasattr(command, "commands") else []:
            if not command.commands[one].hidden:
                yield from _command(command.commands[one], one, context, page, level + 1)


def _parameters(command: Any, context: Any, page: str) -> Iterator[str]:
    """Yield arguments and options as a list of definitions, which fits on a narrow screen."""
    for parameter in command.get_params(context):
        record = parameter.get_help_record(context)
        if record is None or parameter.name == "help":
            continue
        shown, text = record
        if parameter.param_type_name == "argument":  # whose type follows in angle brackets
            shown = shown.partition(" <")[0]
        yield ", ".join(code(one) for one in shown.split(", "))
        yield f":   {_described(text, page)}"
        yield ""


def _described(text: str, page: str) -> str:
    """Return a help text with what typer puts behind it in brackets as sentences."""
    found = re.fullmatch(r"(.*?)\s*(?:\[(.*)\])?", text, re.DOTALL)
    assert found is not None, "the pattern takes any text"
    sentences = [sentence(found[1], page)] if found[1] else []
    for fact in filter(None, (found[2] or "").split("; ")):
        name, _, value = fact.partition(": ")
        value = value.removeprefix("(").removesuffix(")")
        said = f"{name.capitalize()}: {code(value)}" if value else code(name) if "<=" in name else name.capitalize()
        sentences.append(f"{said}.")
    return " ".join(sentences)


def _epilog(command: Any, page: str) -> Iterator[str]:
    """Yield examples as a block, and what else stands below a command's help."""
    examples: list[str] = []
    others: list[str] = []
    for paragraph in str(command.epilog or "").split("\n\n"):
        text = paragraph.strip()
        if text.startswith("harness ") or text.startswith(("eval ", "export ", "pytest ")):
            examples.append(text)
        elif text and text not in ("Examples:", "Example:"):
            others.append(text)
    if examples:
        yield from ["**Examples**" if len(examples) > 1 else "**Example**", "", "```sh", *examples, "```", ""]
    for other in others:
        yield from [plain(other, page), ""]
