"""Tokens of a lab's clients: who has none, a stale one or one that was taken back gets no phone."""

from __future__ import annotations

import json
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest

from harness.conformance.fake_runners import make_order, write_runner
from harness.lab.errors import LabMisuse, TokenRefused
from harness.lab.tokens import KNOWN_SECONDS, TokenBook
from tests.cli.called import call
from tests.lab.conftest import Town, await_


def test_a_token_names_its_client_until_it_expires(tmp_path: Path) -> None:
    now = [datetime(2026, 11, 30, 12, tzinfo=timezone.utc)]
    path = tmp_path / "tokens.json"
    book, reader = (TokenBook(path, lambda: now[0]) for _ in range(2))
    anna, ben = book.add("anna", 1), book.add("ben", 2)
    assert anna not in path.read_text()
    assert [reader.answer(token).client for token in (anna, ben)] == ["anna", "ben"]
    assert "has none" in reader.answer("").refused
    assert "does not know" in reader.answer("of somebody else").refused
    now[0] += timedelta(days=1)
    assert reader.answer(anna).refused == "the token of anna has expired on 2026-12-01 at 12:00 UTC"
    assert reader.answer(ben).client == "ben"
    # Another process takes one back, and gives a new one.
    assert book.revoke("ben")
    assert not book.revoke("ben")
    assert "taken it back" in reader.answer(ben).refused
    again = book.add("ben", 1)
    assert (reader.answer(again).client, reader.answer(ben).client) == ("ben", "")


def test_a_list_that_is_none_lets_nobody_in(tmp_path: Path) -> None:
    path = tmp_path / "tokens.json"
    book = TokenBook(path)
    token = book.add("anna", 1)
    path.write_text("{")
    assert "cannot read its list" in book.answer(token).refused
    path.write_text('{"clients": {}}')
    path.chmod(0o666)
    assert "others may write" in book.answer(token).refused
    with pytest.raises(LabMisuse, match="no name of a client"):
        book.add("../anna", 1)


def test_the_commands_keep_the_list(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "tokens.json"
    made = call(capsys, "lab", "token", "add", "anna", "--days", "7", "--tokens", str(path))
    assert (made.code, made.err) == (0, "harness: anna may use the lab for 7 days\n")
    assert TokenBook(path).answer(made.out.strip()).client == "anna"
    assert path.stat().st_mode & 0o777 == 0o600
    again = call(capsys, "lab", "token", "add", "ben", "--tokens", str(path), "--json")
    assert TokenBook(path).answer(json.loads(again.out)["token"]).client == "ben"
    revoked = call(capsys, "lab", "token", "revoke", "ben", "--tokens", str(path), "--json")
    assert json.loads(revoked.out)["client"] == "ben"
    (row,) = json.loads(call(capsys, "lab", "token", "list", "--tokens", str(path), "--json").out)["tokens"]
    assert (row["client"], row["expired"]) == ("anna", False)
    assert "anna" in call(capsys, "lab", "token", "list", "--tokens", str(path)).out
    assert call(capsys, "lab", "token", "revoke", "anna", "--tokens", str(path)).code == 0
    assert call(capsys, "lab", "token", "revoke", "anna", "--tokens", str(path)).code == 2


@pytest.mark.programs
def test_a_stale_token_gets_no_phone_and_keeps_none(
    village: Town, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("HARNESS_LAB_TOKEN", raising=False)
    book = TokenBook(village.folder / "tokens.json")
    tokens = {name: tmp_path / name for name in ("anna", "ben", "late")}
    for name, path in tokens.items():
        path.write_text(book.add(name, 1) + "\n")
        path.chmod(0o600)
    stale = dict(book.clients())
    stale["late"] = stale["late"].model_copy(update={"expires": datetime.now(timezone.utc) - timedelta(hours=1)})
    book._write(stale)
    village.scheduler(village.folder / "tokens.json")
    village.agent("east", "e1")
    village.await_state("east/e1", "free")
    runner = write_runner(tmp_path, "everything()")

    with village.open("e1", lab_token_file=str(tokens["anna"])) as device, device.reserve():
        assert device.run(runner, make_order()).complete
        # Others see the name that was checked, and not only what a client says of itself.
        assert village.await_state("east/e1", "held").holder.startswith("anna, process ")
        # Who has no token, or a stale one, does not even wait.
        for options, why in (
            ({}, "has none"),
            ({"lab_token_file": str(tokens["late"])}, "the token of late has expired"),
        ):
            with village.open("e1", **options) as other, pytest.raises(TokenRefused, match=why):
                other.run(runner, make_order())
        assert village.cards()["east/e1"].waiting == 0
        # It is taken back while its client has the phone: the next order is refused.
        book.revoke("anna")

        def refused() -> bool:
            try:
                device.run(runner, make_order())
            except TokenRefused as error:
                return "taken it back" in str(error)
            return False

        await_("the token is refused", refused, KNOWN_SECONDS * 4)
    village.await_state("east/e1", "free")
    with village.open("e1", lab_token_file=str(tokens["ben"])) as device:
        assert device.run(runner, make_order()).complete
    released = call_release(village, tokens["anna"])
    assert "taken it back" in released


def call_release(village: Town, token: Path) -> str:
    from harness.lab.client import Lab
    from harness.lab.security import client_token

    lab = Lab(village.address, village.certificates, client_token(str(token)))
    try:
        lab.ask("east/e1", "release")
    except TokenRefused as error:
        return str(error)
    finally:
        lab.close()
    return ""


def test_a_token_of_the_environment_and_of_a_file(tmp_path: Path) -> None:
    from harness.lab.security import client_token

    path = tmp_path / "token"
    path.write_text("of-a-file\n")
    path.chmod(0o600)
    assert client_token(None, {"HARNESS_LAB_TOKEN": "of-the-shell"}) == "of-the-shell"
    assert client_token(str(path), {"HARNESS_LAB_TOKEN": "of-the-shell"}) == "of-a-file"
    path.chmod(0o644)
    with pytest.raises(LabMisuse, match="others may read"):
        client_token(str(path))
