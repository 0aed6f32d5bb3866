"""Render blocks on a terminal or as Markdown."""

from __future__ import annotations

from collections.abc import Iterable

import rich.table
from rich.console import Console
from rich.text import Text

from harness.report.document import Block, Heading, Line, Table, Tone

STYLES = {Tone.PLAIN: "", Tone.GOOD: "bold green", Tone.BAD: "bold red", Tone.UNSURE: "yellow"}


def to_terminal(blocks: Iterable[Block], console: Console) -> None:
    """Print the blocks. A run's content is printed as text, never as rich's markup or a command to the terminal."""
    for block in blocks:
        if isinstance(block, Heading):
            console.print()
            console.print(Text(block.text, style="bold underline"))
        elif isinstance(block, Line):
            console.print(Text(block.text, style=STYLES[block.tone]))
        else:
            _print_table(block, console)


def _print_table(block: Table, console: Console) -> None:
    table = rich.table.Table(box=None, pad_edge=False, header_style="dim", show_header=any(block.header))
    for at, title in enumerate(block.header):
        right = block.numbers and at > 0
        table.add_column(Text(title), justify="right" if right else "left", overflow="fold")
    for row in block.rows:
        table.add_row(*map(Text, row))
    console.print(table)
    if block.note:
        console.print(Text(block.note, style="dim"))


def to_markdown(blocks: Iterable[Block]) -> str:
    """Return GitHub's Markdown; the first heading is the title."""
    parts: list[str] = []
    for block in blocks:
        if isinstance(block, Heading):
            parts.append(f"{'##' if parts else '#'} {_escaped(block.text)}")
        elif isinstance(block, Line):
            text = _escaped(block.text)
            parts.append(f"**{text}**" if block.tone in (Tone.GOOD, Tone.BAD) else text)
        else:
            parts.append(_markdown_table(block))
            if block.note:
                parts.append(f"<sub>{_escaped(block.note)}</sub>")
    return "\n\n".join(parts) + "\n"


def _markdown_table(block: Table) -> str:
    aligned = ["---" if at == 0 or not block.numbers else "---:" for at in range(len(block.header))]
    header, *rows = ([_escaped(cell) for cell in row] for row in (block.header, *block.rows))
    lines = [header, aligned, *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


_SPECIAL = str.maketrans({char: f"\\{char}" for char in "\\`*_[]<>|#"} | {"\n": " "})


def _escaped(text: str) -> str:
    return text.translate(_SPECIAL)
