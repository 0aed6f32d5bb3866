"""The lab's page: in a real browser, against phones that attack it, and against requests that should get nothing."""

from __future__ import annotations

import http.client
import json
import re
import signal
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from axe_playwright_python.sync_playwright import Axe
from jsonschema import Draft202012Validator
from playwright.sync_api import Browser

from harness.cli.documents import documents
from harness.cli.documents.base import json_schema, schema_of
from harness.conformance.fake_runners import make_order
from harness.core.text import shown_line
from harness.lab.errors import LabMisuse
from harness.lab.security import check_serving
from harness.protocol.schema import Sample
from tests.lab.conftest import PATIENCE, Town, await_
from tests.lab.served import HOSTILE, Watched, card, hostile_cards, served
from tests.lab.test_clients import gated
from tests.lab.test_commands import running
from tests.report.html.browsers import DEADLINE_MS, Scheme
from tests.report.html.nightly import two_nightly_runs
from tests.results.samples import make_run

pytestmark = pytest.mark.programs

SCHEMAS = {schema_of(kind): json_schema(kind) for kind in documents()}


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """26 nightly runs, a run of a device with a hostile name, a run that passes, and a damaged one."""
    root = tmp_path_factory.mktemp("stored")
    two_nightly_runs(root)
    found = root / "results"
    manifest = make_run(found, wrong=("w0",)).folder / "manifest.json"
    facts = json.loads(manifest.read_text())
    manifest.write_text(json.dumps(facts | {"device": facts["device"] | {"name": HOSTILE}}))
    make_run(found)
    (found / "20200101-000000-000-aaaa").mkdir()
    (root / "secret.txt").write_text("a secret")
    return found


@pytest.fixture(scope="module")
def watched() -> Watched:
    return Watched(hostile_cards())


@pytest.fixture(scope="module")
def address(watched: Watched, results: Path) -> Iterator[str]:
    with served(watched, results, "lab.example") as found:
        yield found


class Seen:
    """A page in the browser, with its complaints and requests."""

    def __init__(self, browser: Browser, url: str, *, width: int = 1280, scheme: Scheme = "light") -> None:
        self.page = browser.new_page(viewport={"width": width, "height": 1400}, color_scheme=scheme)
        self.page.set_default_timeout(DEADLINE_MS)
        self.errors: list[str] = []
        self.requests: list[str] = []
        self.page.on("console", lambda line: self.errors.append(line.text) if line.type != "log" else None)
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.goto(url)


def ask(address: str, path: str, *, method: str = "GET", **headers: str) -> tuple[int, str, dict[str, str]]:
    """The answer to one request, whose path is sent as it is."""
    parts = urlsplit(address)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=PATIENCE)
    try:
        connection.request(method, path, headers=headers)
        answer = connection.getresponse()
        return answer.status, answer.read().decode(), dict(answer.getheaders())
    finally:
        connection.close()


@pytest.mark.parametrize(("width", "scheme"), [(1280, "light"), (390, "dark")])
def test_everybody_can_read_it(browser: Browser, address: str, width: int, scheme: Scheme) -> None:
    seen = Seen(browser, address, width=width, scheme=scheme)
    page = seen.page
    seen.page.evaluate("() => { for (const one of document.querySelectorAll('details')) one.open = true }")
    found = Axe().run(page)
    assert len(found.response["passes"]) > 15
    assert found.violations_count == 0, found.generate_report()
    assert page.evaluate("() => document.documentElement.scrollWidth") <= width
    ground = page.evaluate("() => getComputedStyle(document.body).backgroundColor")
    assert ground == ("rgb(251, 251, 249)" if scheme == "light" else "rgb(21, 23, 26)")
    # A row's cells are in sight, also on a phone.
    for cell in page.locator("#phones tbody tr").first.locator("td").all():
        box = cell.bounding_box()
        assert box is not None
        assert 0 <= box["x"] <= box["x"] + box["width"] <= width
    assert seen.errors == []
    assert all(one.startswith(address) for one in seen.requests)
    page.close()


def test_what_phones_clients_and_runs_are_called_is_text(browser: Browser, address: str) -> None:
    seen = Seen(browser, address)
    page = seen.page
    assert page.title() == "Lab · harness"
    assert page.locator("img").count() == 0
    spelt = shown_line(HOSTILE)
    assert r"\x1b[31m\u202e" in spelt
    for section in ("phones", "running", "queue", "runs"):
        assert spelt in (page.locator(f"#{section}").text_content() or ""), section
    assert not set(page.content()) & set("\x1b\u202e")
    assert page.locator("#running tbody tr", has_text="desk/a2").locator("td").all_text_contents() == [
        "process 7 of ana@desk", "run", "5 min", "41",
    ]  # fmt: skip
    assert page.locator("#queue tbody tr").count() == 2
    assert seen.errors == []
    page.close()


def test_the_policy_stops_what_got_in(browser: Browser, address: str) -> None:
    seen = Seen(browser, address)
    seen.page.evaluate(
        """() => {
          const one = document.createElement('script'); one.textContent = "document.title = 'owned'";
          document.body.append(one); document.body.setAttribute('style', 'display: none');
          const link = document.createElement('img'); link.src = 'http://127.0.0.2:9/x'; document.body.append(link);
        }"""
    )
    seen.page.wait_for_timeout(50)
    assert seen.page.title() == "Lab · harness"
    assert len([one for one in seen.errors if "Content Security Policy" in one]) >= 2
    assert not any("127.0.0.2" in one for one in seen.requests if not one.startswith(address)) or seen.errors
    seen.page.close()


def test_it_follows_the_lab_and_can_be_paused(browser: Browser, watched: Watched, address: str) -> None:
    page = browser.new_page()
    page.set_default_timeout(DEADLINE_MS)
    page.clock.install()
    page.goto(address)
    page.locator("#phones details").first.evaluate("(one) => { one.open = true }")
    before = list(watched.cards)
    try:
        watched.cards = [*before[:1], card("desk/a9", "resting", reason="the battery has 45 °C")]
        page.clock.run_for(5100)
        page.locator("#phones tbody tr", has_text="desk/a9").wait_for()
        assert "rack/x1" not in (page.locator("#phones").text_content() or "")
        assert page.locator("#phones details").first.evaluate("(one) => one.open") is True
        page.locator("#pause").click()
        assert page.locator("#pause").get_attribute("aria-pressed") == "true"
        watched.cards = before
        looked = page.locator("body").get_attribute("data-looked")
        page.clock.run_for(20_000)
        assert page.locator("body").get_attribute("data-looked") == looked
        watched.trouble = "no route to host"
        page.locator("#pause").click()
        page.get_by_role("alert").wait_for()
        assert "does not answer: no route to host" in (page.get_by_role("alert").text_content() or "")
    finally:
        watched.cards, watched.trouble = before, None
    page.close()


def test_nightly_runs_trends_and_their_reports(browser: Browser, address: str) -> None:
    seen = Seen(browser, address)
    page = seen.page
    rows = page.locator("#nights tbody tr")
    assert rows.count() == 14
    assert rows.first.locator("td").first.text_content() == "fail"
    assert "phone/cache fail" in (rows.first.text_content() or "")
    trend = page.locator("#trends tbody tr", has_text="phone m/cache latency")
    assert trend.locator("svg polyline").count() == 1
    assert len((trend.locator("polyline").get_attribute("points") or "").split()) == 26
    assert trend.locator("svg .mark.bad").count() == 1
    page.close()
    # A report runs its own script, in a sandbox from which this server cannot be asked.
    link = re.search(r'href="(/nights/[^"]+)"', ask(address, "/")[1])
    assert link is not None
    report = Seen(browser, address.rstrip("/") + link[1])
    report.page.locator("[data-figure]").first.scroll_into_view_if_needed()
    report.page.wait_for_selector("[data-figure][data-drawn]")
    assert report.errors == []
    with pytest.raises(Exception, match="fetch"):
        report.page.evaluate("() => fetch('/api/lab.json').then((one) => one.text())")
    assert report.page.evaluate("() => window.origin") == "null"
    report.page.close()


def test_the_report_of_a_run(browser: Browser, address: str) -> None:
    name = json.loads(ask(address, "/api/runs.json")[1])["runs"][0]["run"]
    report = Seen(browser, f"{address}runs/{name}")
    assert name in report.page.title()
    assert report.errors == []
    report.page.close()


def test_documents_hold_to_their_schemas(address: str) -> None:
    for name, schema in (
        ("lab", "harness.lab/1"), ("nights", "harness.nights/1"), ("runs", "harness.runs/1"),
        ("trends", "harness.trends/1"),
    ):  # fmt: skip
        status, text, headers = ask(address, f"/api/{name}.json")
        assert (status, headers["Content-Type"]) == (200, "application/json")
        assert text.isascii()
        found = json.loads(text)
        assert found["schema"] == schema
        Draft202012Validator(SCHEMAS[schema]).validate(found)
    lab = json.loads(ask(address, "/api/lab.json")[1])
    assert [one["name"] for one in lab["phones"]] == ["desk/a1", "desk/a2", "rack/x1"]
    assert lab["phones"][2]["reason"] == HOSTILE
    assert lab["phones"][1]["queue"][0] == {"owner": "process 8 of ben@lap", "waited_seconds": 61.0}


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/runs/..%2f..%2fsecret.txt", 404),
        ("/runs/../../secret.txt", 404),
        ("/runs/%2e%2e", 404),
        ("/runs/nightly", 404),
        ("/nights/..", 404),
        ("/runs/latest", 404),
        ("/runs/20200101-000000-000-aaaa", 500),
        ("/page.html.j2", 404),
        ("/api/../secret.txt", 404),
        ("/static/x", 404),
        ("/runs/" + "a" * 5000, 404),
    ],
)
def test_nothing_else_is_served(address: str, path: str, status: int) -> None:
    found, text, headers = ask(address, path)
    assert found == status, text
    assert "a secret" not in text
    assert headers["Content-Type"] == "text/plain; charset=utf-8"
    assert "default-src 'none'" in headers["Content-Security-Policy"]


def test_it_only_reads_and_only_for_who_names_it(address: str) -> None:
    for method in ("POST", "PUT", "DELETE", "PATCH"):
        assert ask(address, "/", method=method)[0] == 405
    assert ask(address, "/", method="HEAD")[:2] == (200, "")
    for host, status in (
        ("evil.example", 421), ("127.0.0.1.evil.example", 421), ("", 421), ("lab.example", 200),
        ("LAB.example:80", 200), ("localhost:1", 200), ("[::1]:1", 200), ("[::1].evil.example", 421),
    ):  # fmt: skip
        for path in ("/", "/api/lab.json"):
            found, text, _ = ask(address, path, Host=host)
            assert found == status, host
            assert ("desk/a1" in text) == (status == 200)
    headers = ask(address, "/")[2]
    assert "Server" not in headers
    assert (headers["X-Content-Type-Options"], headers["Cache-Control"]) == ("nosniff", "no-store")


def test_without_a_results_folder_there_are_phones_alone(watched: Watched) -> None:
    with served(watched, None) as address:
        status, text, _ = ask(address, "/")
        assert status == 200
        assert "desk/a1" in text
        assert 'id="nights"' not in text
        for path in ("/api/nights.json", "/runs/20200101-000000-000-aaaa"):
            assert ask(address, path)[0] == 404


@pytest.mark.parametrize("host", ["0.0.0.0", "192.0.2.7", "::", "lab.example"])
def test_it_is_not_served_to_others_by_accident(host: str) -> None:
    with pytest.raises(LabMisuse, match="could read who measures"):
        check_serving(host, insecure=False)
    check_serving(host, insecure=True)
    for own in ("127.0.0.1", "127.0.0.9", "localhost", "::1"):
        check_serving(own, insecure=False)


def test_the_command_shows_a_real_lab(town: Town, tmp_path: Path, results: Path) -> None:
    log = tmp_path / "serve.log"
    words = ("lab", "serve", "--scheduler", town.address, "--port", "0", "--results-dir", str(results))
    with running(log, *words) as process:
        await_("the page is served", lambda: "the lab's page is at" in log.read_text())
        address = re.findall(r"page is at (\S+)", log.read_text())[0]

        def phones() -> dict[str, dict[str, object]]:
            found = json.loads(ask(address, "/api/lab.json")[1])
            return {one["name"]: one for one in found["phones"]} if found["reachable"] else {}

        await_("the lab's phones", lambda: {"north/n1", "south/s2"} <= set(phones()))
        runner, gate = gated(tmp_path)
        began: list[object] = []
        with town.open("north/n1") as device:

            def record(found: object) -> None:
                began.append(found)
                if isinstance(found, Sample) and not gate.exists():
                    await_("the page shows who runs", lambda: phones()["north/n1"]["doing"] == "run")
                    row = phones()["north/n1"]
                    assert row["state"] == "held"
                    assert "process" in str(row["holder"])
                    await_("the page counts", lambda: int(str(phones()["north/n1"]["records"])) >= 1)
                    gate.touch()

            assert device.run(runner, make_order(), on_record=record).complete
        assert gate.exists()
        process.send_signal(signal.SIGTERM)
        assert process.wait(PATIENCE) == 0, log.read_text()
