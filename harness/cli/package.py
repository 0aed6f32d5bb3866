"""Define ``harness package``: compiled models in the form that an app's own build takes."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from harness.cli.app import app
from harness.cli.compile import (
    MCPU_HELP,
    AllowPickleOption,
    KeepWideOption,
    KvCacheOption,
    PrecisionOption,
    compilables,
    deliver,
    show_compiled,
)
from harness.cli.documents.base import harness_version
from harness.cli.elsewhere import compiling
from harness.cli.models import ModelCommand
from harness.cli.offered import given
from harness.cli.options import Json, OutputDir
from harness.cli.output import note, renamed
from harness.compiler import Archive, CompileRequest
from harness.compiler.metadata import FILE_NAME
from harness.core.cache import Cache
from harness.models.options import ModelOptions
from harness.native.apps.package import write_package
from harness.native.apps.swift import write_swift_package
from harness.native.ios.tools import Slice
from harness.native.ios.xcframework import SLICE_TARGETS, make_xcframework
from harness.report.progress import TerminalProgress

package_app = typer.Typer(
    help="Compiled models in the form that a platform's own tools link.",
    no_args_is_help=True,
    epilog="Example:\n\n  harness package ios --output-dir build/ios",
)
app.add_typer(package_app, name="package")


@package_app.callback()
def package() -> None:
    """Compiled models in the form that a platform's own tools link."""


@package_app.command(
    cls=ModelCommand.of("xcframework"),
    epilog="Examples:\n\n  harness package ios --output-dir build/ios\n\n  harness package ios --checkpoint ./my-byt5 "
    "--precision int8 --output-dir build/ios"
    "\n\n  harness package ios --models g2p --models detector --output-dir build/ios",
)
def ios(
    context: typer.Context,
    models: Annotated[
        list[str] | None,
        typer.Option(
            "--models",
            help="what goes into it, once for each, as pytest's --models names them; g2p if none is named",
        ),
    ] = None,
    mcpu: Annotated[str | None, typer.Option(help=MCPU_HELP, show_default=False)] = None,
    precision: PrecisionOption = "fp32",
    keep_wide: KeepWideOption = None,
    kv_cache: KvCacheOption = True,
    allow_pickle: AllowPickleOption = False,
    output_dir: Annotated[Path, OutputDir] = Path("build"),
    out: Annotated[Path | None, typer.Option("--out", hidden=True)] = None,
    as_json: Json = False,
) -> None:
    """Compile for iPhones and their simulator, and write HarnessModels.xcframework."""
    if out is not None:
        renamed("--out", "--output-dir")
        output_dir = out
    options = ModelOptions(
        models=tuple(models or ()), precision=precision, allow_pickle=allow_pickle, own=given(context)
    )
    cache = Cache(notice=note)
    with TerminalProgress(sys.stderr).stage("looking at the models") as stage:
        found = compilables(options, kv_cache=kv_cache, cache=cache, progress=stage.describe)
    archives: dict[Slice, Archive] = {}
    with compiling(options, kv_cache=kv_cache, cache=cache) as compiled:
        for which, target in SLICE_TARGETS.items():
            with TerminalProgress(sys.stderr).stage(f"compiling {', '.join(options.named)} for {target}") as stage:
                request = CompileRequest(found, target, mcpu, precision, keep_wide=keep_wide or ())
                archives[which] = compiled(request, stage.describe)
    with TerminalProgress(sys.stderr).stage("packaging") as stage:
        framework = make_xcframework(archives, output_dir, cache=cache, progress=stage.describe)
    tokenizers = [deliver(path, output_dir) for path in archives["device"].tokenizers.values()]
    show_compiled([framework, output_dir / FILE_NAME, *tokenizers], "ios", as_json=as_json)


LANGUAGES = {
    "c": "Write a stripped shared library of this machine, a C header, an example, licences and a manifest.",
    "kotlin": "Write a stripped shared library of this machine, Kotlin for a JVM, an example, licences and a manifest.",
    "flutter": "Write a Flutter plugin with an example app, a library of this machine, licences and a manifest.",
    "swift": "Write a Swift package for iPhones and their simulator: an xcframework, Swift, licences and a manifest.",
}
ForModels = Annotated[
    list[str] | None,
    typer.Option("--models", help="what goes into it, once for each, as pytest's --models names them"),
]


def _add(language: str, text: str) -> None:
    """Add the command that packages for a language."""

    @package_app.command(
        language,
        cls=ModelCommand.of("package"),
        help=text,
        epilog=f"Examples:\n\n  harness package {language} --output-dir build/{language}"
        f"\n\n  harness package {language} --models g2p --models ./mine.py --output-dir build/{language}",
    )
    def package_for(
        context: typer.Context,
        models: ForModels = None,
        precision: PrecisionOption = "fp32",
        keep_wide: KeepWideOption = None,
        allow_pickle: AllowPickleOption = False,
        output_dir: Annotated[Path, OutputDir] = Path("build", language),
        as_json: Json = False,
    ) -> None:
        options = ModelOptions(
            models=tuple(models or ()), precision=precision, allow_pickle=allow_pickle, own=given(context)
        )
        cache, version = Cache(notice=note), harness_version()
        with TerminalProgress(sys.stderr).stage(f"packaging {', '.join(options.named)} for {language}") as stage:
            found = compilables(options, kv_cache=True, cache=cache, progress=stage.describe)

            shared: dict[str, Any] = {"harness_version": version, "cache": cache, "progress": stage.describe}
            targets: dict[Slice, str] = dict(SLICE_TARGETS) if language == "swift" else {}
            with compiling(options, kv_cache=True, cache=cache) as compiled:

                def archive(target: str) -> Archive:
                    request = CompileRequest(found, target, None, precision, keep_wide=keep_wide or ())
                    return compiled(request, stage.describe)

                archives = {which: archive(target) for which, target in targets.items()}
                own = None if targets else archive("llvm")
            if own is None:
                written = write_swift_package(archives, output_dir, **shared)
            else:
                written = write_package(language, own, output_dir, **shared)
        show_compiled(written, "ios" if language == "swift" else "llvm", as_json=as_json)


for _language, _text in LANGUAGES.items():
    _add(_language, _text)
