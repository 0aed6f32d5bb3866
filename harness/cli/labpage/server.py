"""Answer the requests for the lab's page, by Tornado, which Dask brings along."""

from __future__ import annotations

import asyncio
import base64
import hmac
import ipaddress
import logging
import re
import signal
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from tornado.httpserver import HTTPServer
from tornado.httputil import HTTPHeaders
from tornado.netutil import bind_sockets
from tornado.web import Application, RequestHandler

from harness.cli.documents.base import Document, to_json
from harness.cli.labpage import view
from harness.cli.labpage.stored import Lists, StoredResults
from harness.cli.labpage.watch import LabWatch
from harness.core.errors import HarnessError
from harness.core.text import quoted, shown
from harness.devices.base import Notify
from harness.lab.errors import LabMisuse
from harness.lab.scheduler import PortTaken

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
REPORT_POLICY = (
    "sandbox allow-scripts allow-downloads; connect-src 'none'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'"
)
"""A report names its own script's hash in its page. It is shown in a sandbox, where it cannot ask this server."""
_NAME = r"([A-Za-z0-9._-]{1,100})"
_T = TypeVar("_T")


@dataclass(frozen=True)
class ServeOptions:
    """Define where and to whom the page is served.

    ``names`` are the names under which browsers may ask for it, ``tls`` the files of its certificate and key, and
    ``password`` what a browser has to ask its reader for, under any user's name.
    """

    listen: str = "127.0.0.1"
    port: int = 8788
    names: tuple[str, ...] = ()
    tls: tuple[Path, Path] | None = None
    password: str | None = None


@dataclass(frozen=True)
class Sources:
    """Hold the sources of the page. ``results`` is None without a results folder or store."""

    lab: LabWatch
    results: StoredResults | None
    hosts: frozenset[str]
    password: str | None = None


class _Page(RequestHandler):
    """Answer GET and HEAD alone, to who asks for this host by a name that it has."""

    SUPPORTED_METHODS = ("GET", "HEAD")

    def initialize(self, sources: Sources) -> None:
        self.sources = sources

    def set_default_headers(self) -> None:
        self.clear_header("Server")
        for name, value in (
            ("Content-Security-Policy", POLICY),
            ("X-Content-Type-Options", "nosniff"),
            ("Referrer-Policy", "no-referrer"),
            ("Cross-Origin-Resource-Policy", "same-origin"),
            ("Cross-Origin-Opener-Policy", "same-origin"),
            ("Cache-Control", "no-store"),
        ):
            self.set_header(name, value)

    def prepare(self) -> None:
        # A page of somebody else's whose name was pointed at this address must not read what is here.
        if _host_of(self.request.host) not in self.sources.hosts:
            self.plain(421, f"this page is not served under {self.request.host_name!r}: give harness lab serve --name")
            self.finish()
        elif self.sources.password is not None and not _knows(self.request.headers, self.sources.password):
            self.set_header("WWW-Authenticate", 'Basic realm="lab", charset="UTF-8"')
            self.plain(401, "this page asks for the lab's password")
            self.finish()

    def plain(self, status: int, text: str) -> None:
        """Answer with one paragraph of text."""
        self.set_status(status)
        self.set_header("Content-Type", "text/plain; charset=utf-8")
        self.write(shown(text, most=1000) + "\n")

    def document(self, found: Document) -> None:
        self.set_header("Content-Type", "application/json")
        self.write(to_json(found) + "\n")

    def write_error(self, status_code: int, **_about: object) -> None:
        self.set_header("Content-Type", "text/plain; charset=utf-8")
        self.finish(f"{status_code} {self._reason}\n")

    async def read(self, read: Callable[[], _T]) -> _T | None:
        """Return what reading gives; None if it failed, which is then the answer."""
        try:
            return await asyncio.get_running_loop().run_in_executor(None, read)
        except HarnessError as error:
            self.plain(500, str(error))
        except OSError as error:
            self.plain(500, f"the results cannot be read: {error.strerror}")
        return None

    async def lists(self) -> Lists | None:
        return None if self.sources.results is None else await self.read(self.sources.results.lists)

    async def head(self, *arguments: str) -> None:
        """Answer as to GET; Tornado leaves the contents out."""
        await self.get(*arguments)  # type: ignore[misc]


class _Lab(_Page):
    async def get(self) -> None:
        lists = await self.lists()
        if self.get_status() == 200:
            self.write(view.page(self.sources.lab.document(), lists, parts_only=self.request.path == "/parts"))


class _LabJson(_Page):
    async def get(self) -> None:
        self.document(self.sources.lab.document())


class _ListJson(_Page):
    async def get(self, which: str) -> None:
        if self.sources.results is None:
            self.plain(404, "no results are served: give harness lab serve --results-dir or --results-url")
        elif (lists := await self.lists()) is not None:
            self.document(getattr(lists, which))


class _Report(_Page):
    async def get(self, kind: str, name: str) -> None:
        results = self.sources.results
        make = None if results is None else results.run_page if kind == "runs" else results.night_page
        found = None if make is None else await self.read(lambda: make(name))
        if found is not None:
            self.set_header("Content-Security-Policy", REPORT_POLICY)
            self.write(found)
        elif self.get_status() == 200:
            self.plain(404, "there is no such report here")


class _Asset(_Page):
    async def get(self, name: str) -> None:
        contents, kind = view.ASSETS[name]
        self.set_header("Content-Type", f"{kind}; charset=utf-8")
        self.write(contents)


class _Nothing(_Page):
    async def get(self, *_path: str) -> None:
        self.plain(404, "there is nothing here: / is the lab's page")


def application(sources: Sources) -> Application:
    """Return the page's handlers."""
    given = {"sources": sources}
    assets = "|".join(map(re.escape, view.ASSETS))
    return Application(
        [
            (r"/(?:parts)?", _Lab, given),
            (r"/api/lab\.json", _LabJson, given),
            (r"/api/(nights|runs|trends)\.json", _ListJson, given),
            (rf"/(runs|nights)/{_NAME}", _Report, given),
            (rf"/({assets})", _Asset, given),
            (r"/.*", _Nothing, given),
        ],
        log_function=lambda _handler: None,
        compress_response=True,
    )


def start(options: ServeOptions, lab: LabWatch, results: StoredResults | None) -> tuple[HTTPServer, str]:
    """Start to serve in the running loop; return the server and the page's address. Raises PortTaken and LabMisuse."""
    # What a stranger's request makes Tornado complain about is no news for the person who serves.
    for name in ("tornado.general", "tornado.access"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    hosts = frozenset({"localhost", "127.0.0.1", "::1", options.listen.lower(), *map(str.lower, options.names)})
    handlers = application(Sources(lab, results, hosts, options.password))
    tls = None if options.tls is None else _tls(*options.tls)
    server = HTTPServer(handlers, max_body_size=0, idle_connection_timeout=60, ssl_options=tls)
    try:
        sockets = bind_sockets(options.port, address=options.listen)
    except OSError as error:
        raise PortTaken(f"the page cannot be served at {options.listen}:{options.port}: {error.strerror}") from error
    server.add_sockets(sockets)
    scheme = "http" if tls is None else "https"
    return server, f"{scheme}://{_bracketed(options.listen)}:{sockets[0].getsockname()[1]}/"


async def serve(options: ServeOptions, lab: LabWatch, results: StoredResults | None, notify: Notify) -> None:
    """Serve the page until SIGTERM or SIGINT; raises PortTaken."""
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    server, address = start(options, lab, results)
    notify(f"the lab's page is at {address}")
    await stop.wait()
    server.stop()
    await server.close_all_connections()


def _tls(certificate: Path, key: Path) -> ssl.SSLContext:
    """Return the settings of a server with this certificate. Raises LabMisuse."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        context.load_cert_chain(certificate, key)
    except OSError as error:
        raise LabMisuse(
            f"the page cannot be served with {quoted(certificate)} and {quoted(key)}: {error.strerror or error}",
            cure="name a certificate and its key, both as PEM",
        ) from error
    return context


def _knows(headers: HTTPHeaders, password: str) -> bool:
    """Return whether a request has the password, by Basic authentication (RFC 7617); the user's name may be any."""
    scheme, _, given = headers.get("Authorization", "").partition(" ")
    if scheme.lower() != "basic":
        return False
    try:
        found = base64.b64decode(given.strip(), validate=True)
    except ValueError:
        return False
    return hmac.compare_digest(found.partition(b":")[2], password.encode())


def _bracketed(host: str) -> str:
    try:
        return f"[{host}]" if ipaddress.ip_address(host).version == 6 else host
    except ValueError:
        return host


def _host_of(header: str) -> str:
    """Return the name in a Host header, without its port."""
    found = re.fullmatch(r"\[([0-9a-fA-F:.]+)\](?::\d+)?|([^:\[\]]*)(?::\d+)?", header)
    return ((found[1] or found[2]) if found else "").lower()
