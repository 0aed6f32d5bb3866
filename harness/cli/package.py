"""Define ``harness package``: compiled models in the form that an app's own build takes."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from harness.cli.app import app
from harness.cli.compile import MCPU_HELP, CheckpointOption, KvCacheOption, PrecisionOption, compilables, show_compiled
from harness.cli.documents.base import harness_version
from harness.cli.options import Json, OutputDir
from harness.cli.output import note, renamed
from harness.compiler import Archive, CompileRequest, compile_models
from harness.compiler.metadata import FILE_NAME
from harness.core.cache import Cache
from harness.models.options import ModelOptions
from harness.native.apps.package import write_package
from harness.native.apps.swift import write_swift_package
from harness.native.ios.tools import Slice
from harness.native.ios.xcframework import SLICE_TARGETS, make_xcframework
from harness.protocol.schema import Precision
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
    epilog="Examples:\n\n  harness package ios --output-dir build/ios\n\n  harness package ios --checkpoint ./my-byt5 "
    "--precision int8 --output-dir build/ios"
    "\n\n  harness package ios --models g2p --models detector --output-dir build/ios",
)
def ios(
    models: Annotated[
        list[str] | None,
        typer.Option(
            "--models",
            help="what goes into it, once for each: g2p, a Python file, or an installed name; g2p if none is named",
        ),
    ] = None,
    checkpoint: CheckpointOption = "embedded",
    mcpu: Annotated[str | None, typer.Option(help=MCPU_HELP, show_default=False)] = None,
    system_lib_prefix: Annotated[str, typer.Option(help="how G2P's symbols begin")] = "g2p_",
    precision: PrecisionOption = "fp32",
    kv_cache: KvCacheOption = True,
    batch_size: Annotated[int, typer.Option(help="words decoded together")] = 1,
    max_input_bytes: Annotated[int, typer.Option(help="bytes of '<lang>: word'")] = 64,
    max_output_len: Annotated[int, typer.Option(help="generated tokens")] = 128,
    output_dir: Annotated[Path, OutputDir] = Path("build"),
    out: Annotated[Path | None, typer.Option("--out", hidden=True)] = None,
    as_json: Json = False,
) -> None:
    """Compile for iPhones and their simulator, and write HarnessModels.xcframework."""
    if out is not None:
        renamed("--out", "--output-dir")
        output_dir = out
    options = ModelOptions(
        models=tuple(models or ()),
        checkpoint=checkpoint,
        batch_size=batch_size,
        max_input_bytes=max_input_bytes,
        max_output_len=max_output_len,
        prefix=system_lib_prefix,
    )
    cache = Cache(notice=note)
    with TerminalProgress(sys.stderr).stage("looking at the models") as stage:
        found = compilables(options, kv_cache=kv_cache, cache=cache, progress=stage.describe)
    archives: dict[Slice, Archive] = {}
    for which, target in SLICE_TARGETS.items():
        with TerminalProgress(sys.stderr).stage(f"compiling {', '.join(options.named)} for {target}") as stage:
            request = CompileRequest(found, target, mcpu, precision)
            archives[which] = compile_models(request, cache=cache, progress=stage.describe)
    with TerminalProgress(sys.stderr).stage("packaging") as stage:
        framework = make_xcframework(archives, output_dir, cache=cache, progress=stage.describe)
    show_compiled([framework, output_dir / FILE_NAME], "ios", as_json=as_json)


ForModels = Annotated[
    list[str] | None,
    typer.Option("--models", help="what goes into it, once for each: g2p, a Python file, or an installed name"),
]


@package_app.command(
    epilog="Examples:\n\n  harness package c --output-dir build/c"
    "\n\n  harness package c --models g2p --models ./mine.py --output-dir build/c",
)
def c(
    models: ForModels = None,
    checkpoint: CheckpointOption = "embedded",
    precision: PrecisionOption = "fp32",
    output_dir: Annotated[Path, OutputDir] = Path("build/c"),
    as_json: Json = False,
) -> None:
    """Write a stripped shared library of this machine, a C header, an example, licences and a manifest."""
    _package("c", models, checkpoint, precision, output_dir, as_json=as_json)


@package_app.command(
    epilog="Examples:\n\n  harness package kotlin --output-dir build/kotlin"
    "\n\n  harness package kotlin --models g2p --models ./mine.py --output-dir build/kotlin",
)
def kotlin(
    models: ForModels = None,
    checkpoint: CheckpointOption = "embedded",
    precision: PrecisionOption = "fp32",
    output_dir: Annotated[Path, OutputDir] = Path("build/kotlin"),
    as_json: Json = False,
) -> None:
    """Write a stripped shared library of this machine, its Kotlin, an example, licences and a manifest, for a JVM."""
    _package("kotlin", models, checkpoint, precision, output_dir, as_json=as_json)


@package_app.command(
    epilog="Examples:\n\n  harness package swift --output-dir build/swift"
    "\n\n  harness package swift --models g2p --models ./mine.py --output-dir build/swift",
)
def swift(
    models: ForModels = None,
    checkpoint: CheckpointOption = "embedded",
    precision: PrecisionOption = "fp32",
    output_dir: Annotated[Path, OutputDir] = Path("build/swift"),
    as_json: Json = False,
) -> None:
    """Write a Swift package for iPhones and their simulator: an xcframework, Swift, licences and a manifest."""
    cache = Cache(notice=note)
    options = ModelOptions(models=tuple(models or ()), checkpoint=checkpoint)
    with TerminalProgress(sys.stderr).stage(f"packaging {', '.join(options.named)} for swift") as stage:
        found = compilables(options, kv_cache=True, cache=cache, progress=stage.describe)
        archives = {
            which: compile_models(CompileRequest(found, target, None, precision), cache=cache, progress=stage.describe)
            for which, target in SLICE_TARGETS.items()
        }
        version = harness_version()
        written = write_swift_package(
            archives, output_dir, harness_version=version, cache=cache, progress=stage.describe
        )
    show_compiled(written, "ios", as_json=as_json)


@package_app.command(
    epilog="Examples:\n\n  harness package flutter --output-dir build/flutter"
    "\n\n  harness package flutter --models g2p --models detector --output-dir build/flutter",
)
def flutter(
    models: ForModels = None,
    checkpoint: CheckpointOption = "embedded",
    precision: PrecisionOption = "fp32",
    output_dir: Annotated[Path, OutputDir] = Path("build/flutter"),
    as_json: Json = False,
) -> None:
    """Write a Flutter plugin with an example app, a stripped library of this machine, licences and a manifest."""
    _package("flutter", models, checkpoint, precision, output_dir, as_json=as_json)


def _package(
    language: str, models: list[str] | None, checkpoint: str, precision: Precision, out: Path, *, as_json: bool
) -> None:
    options = ModelOptions(models=tuple(models or ()), checkpoint=checkpoint)
    cache = Cache(notice=note)
    with TerminalProgress(sys.stderr).stage(f"packaging {', '.join(options.named)} for {language}") as stage:
        found = compilables(options, kv_cache=True, cache=cache, progress=stage.describe)
        archive = compile_models(CompileRequest(found, "llvm", None, precision), cache=cache, progress=stage.describe)
        version = harness_version()
        written = write_package(language, archive, out, harness_version=version, cache=cache, progress=stage.describe)
    show_compiled(written, "llvm", as_json=as_json)
