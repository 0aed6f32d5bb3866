"""Who may read the lab's page, and whose results it shows: HTTPS, a password, and a results store."""

from __future__ import annotations

import base64
import json
import ssl
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Error, sync_playwright

from harness.lab.errors import LabMisuse
from harness.lab.security import check_serving, read_password
from harness.results.shared import uploader
from harness.results.shared.sync import planned
from tests.cli.called import call
from tests.lab.served import Watched, served
from tests.lab.test_results import nightly_run
from tests.lab.test_tls import certificates
from tests.report.html.browsers import DEADLINE_MS, chromium
from tests.results.samples import make_run

pytestmark = pytest.mark.programs

PASSWORD = "pässword of the läb"


def status(address: str, authority: Path, header: str | None) -> int:
    """The status of one request by a client that trusts the lab's authority."""
    context = ssl.create_default_context(cafile=str(authority))
    context.check_hostname = False
    request = urllib.request.Request(address, headers={} if header is None else {"Authorization": header})
    try:
        with urllib.request.urlopen(request, timeout=30, context=context) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code


def basic(text: str) -> str:
    return "Basic " + base64.b64encode(text.encode()).decode()


def test_a_password_by_https(tmp_path: Path) -> None:
    files = certificates(tmp_path / "tls")
    with served(Watched([]), None, tls=(files.cert, files.key), password=PASSWORD) as address:
        assert address.startswith("https://127.0.0.1:")
        assert status(address, files.ca, basic(f"anybody:{PASSWORD}")) == 200
        refused = [None, basic("anybody:"), basic(PASSWORD), "Basic !", "Bearer x", basic(f"anybody:{PASSWORD}x")]
        assert [status(address, files.ca, header) for header in refused] == [401] * len(refused)
        assert status(address + "api/lab.json", files.ca, None) == 401
        with pytest.raises(OSError, match=r"reset|closed|BadStatus"):
            urllib.request.urlopen(address.replace("https", "http"), timeout=30)
        with sync_playwright() as playwright:
            browser = chromium(playwright)
            credentials: Any = {"username": "me", "password": PASSWORD}
            page = browser.new_context(ignore_https_errors=True, http_credentials=credentials).new_page()
            page.set_default_timeout(DEADLINE_MS)
            page.goto(address)
            assert page.locator("h1").count() == 1
            stranger = browser.new_context(ignore_https_errors=True).new_page()
            with pytest.raises(Error, match="ERR_INVALID_AUTH_CREDENTIALS"):
                stranger.goto(address)
            browser.close()


def test_files_that_are_no_certificate(tmp_path: Path) -> None:
    files = certificates(tmp_path / "tls")
    for tls in ((tmp_path / "none", files.key), (files.ca, files.key), (files.key, files.key)):
        with pytest.raises(LabMisuse, match="cannot be served with"), served(Watched([]), None, tls=tls):
            pass


def test_beyond_this_machine_it_takes_both() -> None:
    check_serving("0.0.0.0", insecure=False, tls=True, password=True)
    for tls, password in ((True, False), (False, True)):
        with pytest.raises(LabMisuse, match="could read who measures"):
            check_serving("0.0.0.0", insecure=False, tls=tls, password=password)


def test_a_password_is_a_secret_of_some_length(tmp_path: Path) -> None:
    file = tmp_path / "password"
    file.write_text(f"{PASSWORD}\nmore\n", encoding="utf-8")
    with pytest.raises(LabMisuse, match="others may read"):
        read_password(file)
    file.chmod(0o600)
    assert read_password(file) == PASSWORD
    file.write_text("short\n")
    with pytest.raises(LabMisuse, match="shorter than 12"):
        read_password(file)
    with pytest.raises(LabMisuse, match="cannot be read"):
        read_password(tmp_path / "none")


@pytest.mark.parametrize(
    ("more", "text"),
    [
        (["--page-cert", "a.pem"], "go together"),
        (["--results-dir", ".", "--results-url", "file:///nowhere"], "two places"),
    ],
)
def test_options_that_do_not_fit(more: list[str], text: str, capsys: pytest.CaptureFixture[str]) -> None:
    done = call(capsys, "lab", "serve", "--scheduler", "tcp://127.0.0.1:9", *more)
    assert (done.code, text in done.err) == (2, True), done.err


def upload(url: str, results: Path, name: str) -> None:
    for item in planned(results, [name]).items:
        assert uploader(url).upload(item).new


def test_the_results_of_everybody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs and nightly runs of a store, also after the store has gone away."""
    monkeypatch.setenv("HARNESS_CACHE_DIR", str(tmp_path / "cache"))
    store, results = tmp_path / "store", tmp_path / "results"
    url = f"file://{store}"
    run, night = make_run(results), nightly_run(results)
    upload(url, results, run.folder.name)
    with served(Watched([]), url) as address:

        def asked(path: str) -> str:
            with urllib.request.urlopen(address + path, timeout=60) as answer:
                return str(answer.read().decode())

        runs = json.loads(asked("api/runs.json"))
        assert (runs["results_dir"], [one["run"] for one in runs["runs"]]) == (url, [run.folder.name])
        assert "<h1" in asked(f"runs/{run.folder.name}")
        upload(url, results, night.name)
        assert [one["night"] for one in json.loads(asked("api/nights.json"))["nights"]] == [night.name]
        assert json.loads(asked("api/trends.json"))["results_dir"] == url
        assert "<h1" in asked(f"nights/{night.name}")
        store.rename(tmp_path / "away")
        store.write_text("no folder")
        page = asked("")
        assert run.folder.name in page
        assert "These are not the results of now" in page
