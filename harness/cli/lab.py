"""``harness lab``: share phones of many hosts (docs/lab.md)."""

from __future__ import annotations

import asyncio
import platform
import tempfile
from pathlib import Path
from typing import Annotated

import platformdirs
import typer

from harness.cli.app import app
from harness.cli.options import Json, ResultsUrl
from harness.cli.output import note, print_json
from harness.core.errors import UsageError

STORE_VARIABLE = "HARNESS_LAB_STORE"
lab_app = typer.Typer(
    help="Share phones of many hosts: a scheduler connects agents, which offer phones, and clients.",
    no_args_is_help=True,
    epilog="Examples:\n\n  harness lab scheduler\n\n  harness lab agent --scheduler tcp://127.0.0.1:8786 "
    "--store file:///shared/lab\n\n  harness lab release desk/R58M123",
)
app.add_typer(lab_app, name="lab")

Ca = Annotated[str | None, typer.Option("--tls-ca", metavar="FILE", help="who signs the lab's certificates")]
Cert = Annotated[str | None, typer.Option("--tls-cert", metavar="FILE", help="this part's certificate")]
Key = Annotated[str | None, typer.Option("--tls-key", metavar="FILE", help="its key")]
TokenFile = Annotated[
    str | None,
    typer.Option(
        "--token-file", metavar="FILE", help="file with this client's token, if one is wanted (or HARNESS_LAB_TOKEN)"
    ),
]
Listen = Annotated[str, typer.Option("--listen", metavar="ADDRESS", help="address of this machine to listen at")]
Insecure = Annotated[bool, typer.Option("--insecure", help="listen beyond this machine without TLS")]
Scheduler = Annotated[
    str,
    typer.Option("--scheduler", metavar="tcp://HOST:PORT", envvar="HARNESS_LAB_SCHEDULER", help="the lab's scheduler"),
]


def check_shared_cache() -> None:
    """Raise StoreMisuse or UsageError unless the environment names a cache that machines share."""
    from harness.core.cache import SHARED
    from harness.core.shared_cache import SharedCache

    if SharedCache.of(note) is None:
        raise UsageError("no shared cache is named", cure=f"set {SHARED} (docs/lab.md)")


@lab_app.command("scheduler", epilog="Example:\n\n  harness lab scheduler --listen 127.0.0.1 --port 8786")
def scheduler(
    listen: Listen = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 takes a free one")] = 8786,
    dashboard: Annotated[
        str, typer.Option(metavar="ADDRESS:PORT", help="where Dask serves its own state over HTTP")
    ] = "127.0.0.1:0",
    tokens: Annotated[
        Path | None,
        typer.Option("--tokens", metavar="FILE", help="only clients with a token of this list may use the lab"),
    ] = None,
    tls_ca: Ca = None,
    tls_cert: Cert = None,
    tls_key: Key = None,
    insecure: Insecure = False,
) -> None:
    """Run the lab's scheduler until it is ended. It needs no phone and no compiler."""
    from harness.lab.errors import require_lab
    from harness.lab.security import Certificates, check_listening

    certificates = Certificates.of(tls_ca, tls_cert, tls_key)
    check_listening(listen, certificates, insecure=insecure)
    check_listening(dashboard.rpartition(":")[0].strip("[]"), None, insecure=insecure)
    require_lab()
    from harness.lab.settings import configure

    configure()
    from harness.lab.scheduler import SchedulerOptions, run_scheduler

    asyncio.run(run_scheduler(SchedulerOptions(listen, port, certificates, dashboard, tokens), note))


@lab_app.command(
    "agent",
    epilog="Examples:\n\n  harness lab agent --scheduler tcp://192.0.2.7:8786 --store file:///shared/lab\n\n"
    "  harness lab agent --scheduler tcp://192.0.2.7:8786 --store s3://lab/files --device android:R58M123",
)
def agent(
    scheduler: Scheduler,
    store: Annotated[
        str, typer.Option("--store", metavar="URL", envvar=STORE_VARIABLE, help="file:///FOLDER or s3://BUCKET/PREFIX")
    ],
    device: Annotated[
        list[str] | None,
        typer.Option("--device", metavar="KIND[:WHICH]", help="what to offer, repeatable (all attached phones)"),
    ] = None,
    name: Annotated[
        str | None, typer.Option("--name", metavar="HOST", help="this host's name in the lab (its own)")
    ] = None,
    listen: Listen = "127.0.0.1",
    state: Annotated[
        Path | None, typer.Option("--state-dir", metavar="DIR", help="folder that keeps quarantines")
    ] = None,
    compile: Annotated[
        int, typer.Option("--compile", metavar="N", min=0, max=64, help="also compile for clients, N at a time")
    ] = 0,
    no_phones: Annotated[bool, typer.Option("--no-phones", help="offer no phone, only --compile")] = False,
    demo_phones: Annotated[Path | None, typer.Option("--demo-phones", metavar="DIR", hidden=True)] = None,
    tls_ca: Ca = None,
    tls_cert: Cert = None,
    tls_key: Key = None,
    insecure: Insecure = False,
) -> None:
    """Offer this host's phones to a lab until the agent is ended: each by cable, as `harness devices` lists them."""
    from harness.lab.errors import require_lab
    from harness.lab.security import Certificates, check_address, check_listening

    certificates = Certificates.of(tls_ca, tls_cert, tls_key)
    check_address(scheduler, certificates)
    check_listening(listen, certificates, insecure=insecure)
    host = name or platform.node() or "host"
    if "/" in host or not host.isprintable() or len(host) > 60:
        raise UsageError(f"{host!r} is no name of a host", cure="give --name with letters, digits and dashes")
    from harness.devices import parse_device

    if no_phones and (device or not compile):
        raise UsageError("--no-phones leaves nothing to offer", cure="give --compile N with it, and no --device")
    if compile:
        check_shared_cache()
    if demo_phones is not None:  # of `harness lab demo`, with the folder of their locks
        from harness.devices.kinds import device_kinds
        from harness.lab.demo import KIND, demo_kind

        device_kinds()[KIND] = demo_kind(host, demo_phones)
    for one in device or ():
        parse_device(one)
    require_lab()
    from harness.core.store import check_store_url

    check_store_url(store)
    from harness.lab.settings import configure

    configure()
    from harness.lab.agent import AgentOptions, run_agent

    folder = state or platformdirs.user_state_path("harness", appauthor=False) / "lab"
    folder.mkdir(parents=True, exist_ok=True)

    run_agent(
        AgentOptions(
            scheduler,
            store,
            host,
            folder,
            tuple(device or ()),
            listen=listen,
            certificates=certificates,
            phones=not no_phones,
            compile=compile,
        ),
        note,
    )


@lab_app.command(
    "serve",
    epilog="Examples:\n\n  harness lab serve --scheduler tcp://127.0.0.1:8786"
    "\n\n  harness lab serve --scheduler tcp://127.0.0.1:8786 --results-dir results --port 8788"
    "\n\n  harness lab serve --scheduler tls://lab:8786 --results-url s3://team/results --listen 0.0.0.0 --name lab "
    "--page-cert lab.pem --page-key lab.key --password-file password",
)
def serve(
    scheduler: Scheduler,
    results_dir: Annotated[
        Path | None,
        typer.Option("--results-dir", metavar="DIR", help="also show the runs and nightly runs of this folder"),
    ] = None,
    results_url: ResultsUrl = None,
    listen: Listen = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 takes a free one")] = 8788,
    name: Annotated[
        list[str] | None,
        typer.Option("--name", metavar="HOST", help="a name under which browsers ask for the page, repeatable"),
    ] = None,
    page_cert: Annotated[
        Path | None, typer.Option("--page-cert", metavar="FILE", help="serve the page by HTTPS with this certificate")
    ] = None,
    page_key: Annotated[Path | None, typer.Option("--page-key", metavar="FILE", help="the key of --page-cert")] = None,
    password_file: Annotated[
        Path | None,
        typer.Option("--password-file", metavar="FILE", help="ask readers for the password in the file's first line"),
    ] = None,
    tls_ca: Ca = None,
    tls_cert: Cert = None,
    tls_key: Key = None,
    insecure: Annotated[bool, typer.Option("--insecure", help="listen beyond this machine, without TLS")] = False,
) -> None:
    """Serve a page of the lab that only reads: phones, who has them, who waits, nightly runs, trends, reports."""
    from harness.cli.options import existing
    from harness.lab.errors import require_lab
    from harness.lab.security import Certificates, check_address, check_serving, read_password

    certificates = Certificates.of(tls_ca, tls_cert, tls_key)
    check_address(scheduler, certificates)
    if (page_cert is None) != (page_key is None):
        raise UsageError("--page-cert and --page-key go together", cure="give both, or none")
    password = None if password_file is None else read_password(password_file)
    check_serving(listen, insecure=insecure, tls=page_cert is not None, password=password is not None)
    if results_dir is not None and results_url is not None:
        raise UsageError("--results-dir and --results-url are two places", cure="give one of them")
    if results_dir is not None:
        existing(results_dir)
    require_lab()
    from harness.lab.settings import configure

    configure()
    from harness.cli.labpage.server import ServeOptions, serve
    from harness.cli.labpage.stored import FAR_SECONDS, StoredResults
    from harness.cli.labpage.watch import LabWatch
    from harness.results.store import Store

    watch = LabWatch(scheduler, certificates)
    results: StoredResults | None = None
    if results_url is not None:
        from harness.results.shared import shared_store

        results = StoredResults(lambda: shared_store(results_url), FAR_SECONDS)
    elif results_dir is not None:
        results = StoredResults(lambda: Store(results_dir))
    tls = None if page_cert is None or page_key is None else (page_cert, page_key)
    try:
        asyncio.run(serve(ServeOptions(listen, port, tuple(name or ()), tls, password), watch, results, note))
    finally:
        watch.close()


@lab_app.command(
    "demo", epilog="Examples:\n\n  harness lab demo\n\n  harness lab demo --phones demo --once --folder DIR"
)
def demo(
    phones: Annotated[
        str | None,
        typer.Option(
            metavar="KIND",
            help="what the hosts have: virtual-android, virtual-ios or demo (the first one, and demo if not on Linux)",
        ),
    ] = None,
    once: Annotated[bool, typer.Option("--once", help="end when the nightly run has ended")] = False,
    folder: Annotated[
        Path | None, typer.Option("--folder", metavar="DIR", help="keep results and logs there (a temporary folder)")
    ] = None,
    port: Annotated[int, typer.Option(min=0, max=65535, help="of the page; another if it is taken")] = 8788,
    minutes: Annotated[float, typer.Option(min=0.01, help="no pair of the nightly run is begun after them")] = 2.0,
) -> None:
    """Run a whole lab on this machine: a scheduler, a store, two agents with two phones each, a nightly run, the page.

    Of virtual phones everything but the times is judged. Phones of the kind demo are programs of this machine, which
    every system runs, and their times are this machine's. Ctrl-C ends all of it.
    """
    if phones is None:
        phones = "virtual-android" if (platform.system(), platform.machine()) == ("Linux", "x86_64") else "demo"
    if phones not in (DEMO_KINDS := ("virtual-android", "virtual-ios", "demo")):
        raise UsageError(f"the demo has no phones {phones!r}", cure=f"choose one of {', '.join(DEMO_KINDS)}")
    from harness.lab.errors import require_lab

    require_lab()
    from harness.cli.labdemo import Demo, stopped_by_signals

    with tempfile.TemporaryDirectory(prefix="harness-lab-demo-") as temporary:
        place = Path(temporary) if folder is None else folder.absolute()
        place.mkdir(parents=True, exist_ok=True)
        shown = Demo(place, phones, port, note, minutes)
        with stopped_by_signals(shown):
            try:
                shown.begin()
                shown.work()
                shown.check()
                if not once:
                    note(f"the lab runs on; look at {shown.address} and end it with Ctrl-C")
                    shown.wait()
            finally:
                note("ending the lab")
                shown.end()


@lab_app.command("release", epilog="Example:\n\n  harness lab release desk/R58M123")
def release(
    phone: Annotated[str, typer.Argument(metavar="HOST/SERIAL", help="as `harness devices --lab` shows it")],
    scheduler: Scheduler,
    token_file: TokenFile = None,
    tls_ca: Ca = None,
    tls_cert: Cert = None,
    tls_key: Key = None,
    as_json: Json = False,
) -> None:
    """End the quarantine of a phone whose fault somebody has found."""
    from harness.cli.documents.machine import ReleasedDocument
    from harness.lab.errors import PhoneLost, require_lab
    from harness.lab.security import Certificates, check_address, client_token

    certificates = Certificates.of(tls_ca, tls_cert, tls_key)
    check_address(scheduler, certificates)
    require_lab()
    from harness.lab.client import Absent, Lab, Silence

    lab = Lab(scheduler, certificates, client_token(token_file))
    try:
        was = bool(lab.ask(phone, "release"))
    except Absent as absent:
        raise UsageError(str(absent), cure="`harness devices --lab` lists its phones") from absent
    except Silence as silence:
        raise PhoneLost(f"the agent of {phone} does not answer: {silence}") from silence
    finally:
        lab.close()
    if as_json:
        print_json(ReleasedDocument(phone=phone, was_quarantined=was))
    else:
        note(f"{phone} is in use again" if was else f"{phone} was in no quarantine")
