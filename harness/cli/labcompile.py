"""``harness lab compile``: archives of several models for several targets, compiled by workers of a lab."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Annotated

import typer

from harness.cli.compile import (
    MCPU_HELP,
    KeepWideOption,
    KvCacheOption,
    PrecisionOption,
    deliver,
)
from harness.cli.lab import Ca, Cert, Key, Scheduler, TokenFile, check_shared_cache, lab_app
from harness.cli.models import ModelCommand
from harness.cli.offered import given
from harness.cli.options import Json, OutputDir
from harness.cli.output import note, print_json, print_line
from harness.core.cache import Cache
from harness.core.errors import UsageError

_UNNAMED = re.compile(r"[^A-Za-z0-9._-]+")


@lab_app.command(
    "compile",
    cls=ModelCommand.of("compile"),
    epilog="Examples:\n\n  harness lab compile --target android-arm64 --target ios-arm64 --models g2p --models bert"
    "\n\n  harness lab compile --models ./detector.py --target android-arm64 --precision int8 --output-dir build",
)
def compile(
    context: typer.Context,
    scheduler: Scheduler,
    target: Annotated[
        list[str] | None, typer.Option("--target", help="as for harness compile, repeatable (llvm)")
    ] = None,
    models: Annotated[
        list[str] | None, typer.Option("--models", metavar="M", help="as for harness compile, repeatable (g2p)")
    ] = None,
    precision: PrecisionOption = "fp32",
    keep_wide: KeepWideOption = None,
    kv_cache: KvCacheOption = True,
    mcpu: Annotated[str | None, typer.Option(help=MCPU_HELP, show_default=False)] = None,
    priority: Annotated[
        int, typer.Option("--lab-priority", metavar="N", help="who waits with a higher one is first")
    ] = 0,
    output_dir: Annotated[Path, OutputDir] = Path("build"),
    token_file: TokenFile = None,
    tls_ca: Ca = None,
    tls_cert: Cert = None,
    tls_key: Key = None,
    as_json: Json = False,
) -> None:
    """Compile every model for every target on hosts of a lab, and write each to TARGET/MODEL of the output folder.

    The archives come through the cache that HARNESS_CACHE_URL names, where those that are there already are taken
    from.
    """
    from harness.cli.documents.files import file_rows
    from harness.cli.documents.lab import CompiledRow, LabCompiledDocument
    from harness.compiler import compile_models
    from harness.compiler.metadata import FILE_NAME
    from harness.compiler.observe.provenance import FILE_NAME as PROVENANCE
    from harness.compiler.targets import resolve_target
    from harness.lab.errors import require_lab
    from harness.lab.security import Certificates, check_address, client_token
    from harness.report.progress import TerminalProgress

    certificates = Certificates.of(tls_ca, tls_cert, tls_key)
    check_address(scheduler, certificates)
    targets = list(dict.fromkeys(target or ["llvm"]))
    for one in targets:
        resolve_target(one, mcpu)
    own = {key: value for key, value in given(context).items() if value is not None}
    folders = {model: _folder(model) for model in models or ["g2p"]}
    if len(set(folders.values())) < len(folders):
        raise UsageError("two models would be written to one folder", cure="compile them one after the other")
    require_lab()
    check_shared_cache()
    from harness.core.store import FileStore
    from harness.lab.building import request_of
    from harness.lab.client import Lab
    from harness.lab.compiling import builders, compile_all, prepare
    from harness.lab.wire import PROTOCOL, CompileOrder

    cache = Cache(notice=note)
    lab = Lab(scheduler, certificates, client_token(token_file))
    try:
        workers = builders(lab)
        note(f"workers that compile: {', '.join(one.name for one in workers)}")
        store = FileStore(workers[0].store)
        with TerminalProgress(sys.stderr).stage("preparing what the lab compiles") as stage:
            jobs = [
                prepare(
                    model,
                    CompileOrder(
                        protocol=PROTOCOL,
                        model=model,
                        target=one,
                        mcpu=mcpu,
                        precision=precision,
                        keep_wide=keep_wide or [],
                        kv_cache=kv_cache,
                        own=own,
                        keys=[],
                    ),
                    store=store,
                    cache=cache,
                    progress=stage.describe,
                )
                for model in folders
                for one in targets
            ]
        done = compile_all(lab, jobs, priority, note)
    finally:
        lab.close()
    rows = []
    with TerminalProgress(sys.stderr).stage("taking the archives from the shared cache") as stage:
        for job, ended in zip(jobs, done, strict=True):
            request = request_of(job.order, job.model, cache, stage.describe)
            archive = compile_models(request, cache=cache, progress=stage.describe)
            folder = output_dir / job.order.target / folders[job.model]
            names = (archive.metadata.archive, FILE_NAME, PROVENANCE)
            paths = [*(archive.folder / name for name in names), *archive.tokenizers.values()]
            files = [deliver(path, folder) for path in paths]
            rows.append(
                CompiledRow(
                    model=job.model,
                    target=job.order.target,
                    worker=ended.worker,
                    seconds=ended.seconds,
                    files=file_rows(files),
                )
            )
    if as_json:
        print_json(LabCompiledDocument(archives=rows))
        return
    for row in rows:
        print_line(row.files[0].path)


def _folder(model: str) -> str:
    """Return the name of a model's folder: that of its file, or its name."""
    name = Path(model).stem if "/" in model or Path(model).suffix else model
    return _UNNAMED.sub("-", name).strip("-.") or "model"
