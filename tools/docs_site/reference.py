"""Every page of the reference that is made from the code."""

from __future__ import annotations

import functools

from tools.docs_site import commands, environment, errors, files, plugin, python, rust, tables

INDEX = """# Reference

What every name means. These pages are made from the code when the site is built, so they are those of this version.

| You look for | Page |
|---|---|
| a command or an option of it | [Commands](commands/index.md), [what all commands have in common](../cli.md) |
| an option of pytest, a key of its configuration, a fixture | [pytest](pytest.md) |
| a class or function in Python | [Python](python/index.md) |
| a crate | [Rust](rust-api.md) |
| a file of a run, of a nightly run, of an archive | [File formats](files/index.md) |
| a column of a table | [SQL tables](sql.md) |
| what an error means and what to do | [Errors](errors.md), [exit codes](exit-codes.md) |
| an environment variable | [Environment variables](environment.md) |
"""


@functools.cache
def pages() -> dict[str, str]:
    """Return the pages and the files beside them by their path in docs."""
    found = {"reference/index.md": INDEX}
    for module in (commands, plugin, python, rust, files, tables, errors, environment):
        found |= module.pages()
    return found
