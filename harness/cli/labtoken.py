"""``harness lab token``: who may use a lab's phones, and until when."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from harness.cli.lab import lab_app
from harness.cli.options import Json
from harness.cli.output import note, print_json, print_line, print_table
from harness.core.errors import UsageError

token_app = typer.Typer(
    help="Tokens of a lab's clients, in a file that its scheduler reads.",
    no_args_is_help=True,
    epilog="Examples:\n\n  harness lab token add anna --tokens tokens.json"
    "\n\n  harness lab scheduler --tokens tokens.json",
)
lab_app.add_typer(token_app, name="token")

Tokens = Annotated[
    Path, typer.Option("--tokens", metavar="FILE", help="the list, the one of `harness lab scheduler --tokens`")
]
Client = Annotated[str, typer.Argument(metavar="NAME", help="a client: a person or a machine")]


@token_app.command("add", epilog="Example:\n\n  harness lab token add anna --days 90 --tokens tokens.json")
def add(
    name: Client,
    tokens: Tokens,
    days: Annotated[float, typer.Option(min=0.01, max=3650, help="after which it has expired")] = 90.0,
    as_json: Json = False,
) -> None:
    """Make a token, write its hash into the list, and print it once: it goes into the client's HARNESS_LAB_TOKEN.

    The client's token of before is taken back.
    """
    from harness.cli.documents.lab import TokenMadeDocument
    from harness.lab.tokens import TokenBook

    token = TokenBook(tokens).add(name, days)
    if as_json:
        print_json(TokenMadeDocument(client=name, token=token, days=days))
        return
    print_line(token)
    note(f"{name} may use the lab for {days:g} days")


@token_app.command("revoke", epilog="Example:\n\n  harness lab token revoke anna --tokens tokens.json")
def revoke(name: Client, tokens: Tokens, as_json: Json = False) -> None:
    """Take a client's token back. A scheduler that runs knows it at once, and agents within five seconds."""
    from harness.cli.documents.lab import TokenRevokedDocument
    from harness.lab.tokens import TokenBook

    if not TokenBook(tokens).revoke(name):
        raise UsageError(f"{name} has no token", cure="harness lab token list shows who has one")
    if as_json:
        print_json(TokenRevokedDocument(client=name))
        return
    note(f"{name} has no token any more")


@token_app.command("list", epilog="Example:\n\n  harness lab token list --tokens tokens.json")
def list_tokens(tokens: Tokens, as_json: Json = False) -> None:
    """List who has a token, and when it expires."""
    from datetime import datetime, timezone

    from harness.cli.documents.lab import TokenRow, TokensDocument
    from harness.lab.tokens import TokenBook

    now = datetime.now(timezone.utc)
    rows = [
        TokenRow(client=name, expires=facts.expires.isoformat(timespec="seconds"), expired=facts.expires <= now)
        for name, facts in sorted(TokenBook(tokens).clients().items())
    ]
    if as_json:
        print_json(TokensDocument(tokens=rows))
        return
    print_table(
        ("client", "expires", ""), [(one.client, one.expires, "expired" if one.expired else "") for one in rows]
    )
