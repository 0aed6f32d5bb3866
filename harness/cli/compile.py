"""Define the commands that make archives: ``compile``, ``compile-smoke``, ``link-env``."""

from __future__ import annotations

import json
import shlex
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from harness.cli.app import app
from harness.cli.documents.files import CompiledDocument, LinkEnvDocument, file_rows
from harness.cli.models import ModelCommand
from harness.cli.offered import given
from harness.cli.options import Json, OutputDir
from harness.cli.output import note, print_json, print_line
from harness.compiler import CompileRequest, compile_models
from harness.compiler import compile_smoke as make_smoke
from harness.compiler.front import SMOKE_ARCHIVE
from harness.compiler.metadata import FILE_NAME
from harness.compiler.observe.provenance import FILE_NAME as PROVENANCE
from harness.compiler.targets import TARGET_NAMES, resolve_target
from harness.compiler.targets.cpus import CPUS
from harness.core.cache import Cache
from harness.core.errors import UsageError
from harness.core.files import replacing
from harness.core.progress import Progress
from harness.models.kinds import open_workloads
from harness.models.options import ModelOptions
from harness.models.workload import Compilable
from harness.native import RuntimeLibs, build_runtime, link_variables, runner_variables, wheel_library_variables
from harness.protocol.schema import Precision
from harness.report.progress import TerminalProgress
from harness.results.errors import writing

TARGET_HELP = f"one of {', '.join(TARGET_NAMES)}; llvm is this machine's CPU"
MCPU_HELP = f"the CPU to compile for, {', '.join(CPUS)}; by default what the target's oldest machines run"
TUNE_HELP = (
    "let MetaSchedule measure so many schedules of each function that has no template, on this machine; 0 is off. "
    "G2P models have templates for all that matters and gain nothing"
)
KEEP_WIDE_HELP = "a pattern of layers that stay one precision wider, such as 'decoder_step/feed_forwards.*'; repeatable"
PrecisionOption = Annotated[
    Precision,
    typer.Option(
        "--precision",
        help="fp32; fp16: 16-bit weights, float32 sums; int8: weights and activations; int4: language models' weights",
    ),
]
KeepWideOption = Annotated[
    list[str] | None, typer.Option("--keep-wide", help=KEEP_WIDE_HELP, metavar="LAYERS", show_default=False)
]
AllowPickleOption = Annotated[
    bool,
    typer.Option("--allow-pickle", help="read pickles in files of --models, which can run any program"),
]
KvCacheOption = Annotated[
    bool, typer.Option("--kv-cache/--no-kv-cache", help="encoder, prefill and step, or encoder and whole decoder")
]


@app.command(
    cls=ModelCommand.of("compile"),
    epilog="Examples:\n\n  harness compile --checkpoint embedded --target llvm --output-dir build/host"
    "\n\n  harness compile --precision int8 --output-dir build/int8 --json"
    "\n\n  harness compile --checkpoint ./my-byt5 --target android-arm64 --no-kv-cache --output-dir build/phone"
    "\n\n  harness compile --target android-arm64 --mcpu cortex-a76 --precision int8 --output-dir build/a76"
    "\n\n  harness compile --models detector.py --models bert.py --models g2p --output-dir build/all",
)
def compile(
    context: typer.Context,
    target: Annotated[str, typer.Option(help=TARGET_HELP)] = "llvm",
    mcpu: Annotated[str | None, typer.Option(help=MCPU_HELP, show_default=False)] = None,
    system_lib: Annotated[
        bool, typer.Option("--system-lib/--no-system-lib", help="a static library; the only kind there is")
    ] = True,
    precision: PrecisionOption = "fp32",
    keep_wide: KeepWideOption = None,
    kv_cache: KvCacheOption = True,
    tune: Annotated[int, typer.Option(metavar="TRIALS", help=TUNE_HELP)] = 0,
    models: Annotated[
        list[str] | None,
        typer.Option(
            "--models",
            help="as pytest's --models names them; several put them all into one archive. By default g2p alone",
            metavar="M",
            show_default=False,
        ),
    ] = None,
    allow_pickle: AllowPickleOption = False,
    output_dir: Annotated[Path, OutputDir] = Path("build"),
    as_json: Json = False,
) -> None:
    """Compile models into a static library, its system_lib_metadata.json and provenance.json: G2P, others, or both."""
    if not system_lib:
        raise UsageError("only static libraries are made", cure="leave --no-system-lib out")
    resolve_target(target, mcpu)  # a wrong name is reported before a checkpoint is fetched
    options = ModelOptions(
        models=tuple(models or ()), precision=precision, allow_pickle=allow_pickle, own=given(context)
    )
    cache = Cache(notice=note)
    with TerminalProgress(sys.stderr).stage(f"compiling {', '.join(options.named)} for {target}") as stage:
        found = compilables(options, kv_cache=kv_cache, cache=cache, progress=stage.describe)
        request = CompileRequest(found, target, mcpu, precision, tune=tune, keep_wide=tuple(keep_wide or ()))
        archive = compile_models(request, cache=cache, progress=stage.describe)
    names = (archive.metadata.archive, FILE_NAME, PROVENANCE)
    paths = [*(archive.folder / name for name in names), *archive.tokenizers.values()]
    show_compiled([deliver(path, output_dir) for path in paths], target, as_json=as_json)


def compilables(options: ModelOptions, *, kv_cache: bool, cache: Cache, progress: Progress) -> list[Compilable]:
    """Return what is compiled of the models that the options name. Raises what opening a model raises."""
    variant = "cache" if kv_cache else "cacheless"
    return [one.compilable(variant) for one in open_workloads(options, cache=cache, progress=progress)]


def show_compiled(files: Sequence[Path], target: str, *, as_json: bool) -> None:
    """Print the written files, or with ``--json`` a document with the metadata among them."""
    if not as_json:
        for file in files:
            print_line(file)
        return
    found: dict[str, Any] = next((json.loads(file.read_bytes()) for file in files if file.name == FILE_NAME), {})
    print_json(CompiledDocument(target=target, files=file_rows(files), metadata=found))


@app.command(epilog="Example:\n\n  harness compile-smoke --prefix g2p_test_ --output-dir build/smoke")
def compile_smoke(
    prefix: Annotated[str, typer.Option(help="how its symbols begin")] = "g2p_test_",
    target: Annotated[str, typer.Option(help=TARGET_HELP)] = "llvm",
    output_dir: Annotated[Path, OutputDir] = Path("build/smoke"),
    as_json: Json = False,
) -> None:
    """Compile the smallest archive: main(x) = x + 1 on a float32[1]."""
    with TerminalProgress(sys.stderr).stage(f"compiling the smoke model for {target}") as stage:
        folder = make_smoke(prefix, target, cache=Cache(notice=note), progress=stage.describe)
    show_compiled([deliver(folder / SMOKE_ARCHIVE, output_dir)], target, as_json=as_json)


@app.command(
    cls=ModelCommand.of("link-env"),
    epilog='Examples:\n\n  eval "$(harness link-env)" && cargo run -p charsiug2p-g2p-cli -- --system-lib '
    '--tvm-target llvm --lang eng-us Char siu\n\n  eval "$(harness link-env --smoke)" && '
    "cargo test -p charsiug2p-g2p-tvm system_lib_smoke",
)
def link_env(
    context: typer.Context,
    precision: PrecisionOption = "fp32",
    kv_cache: KvCacheOption = True,
    smoke: Annotated[bool, typer.Option("--smoke", help="the smoke model instead of a checkpoint")] = False,
    dynamic: Annotated[bool, typer.Option("--dynamic", help="link the TVM wheels' shared libraries")] = False,
    as_json: Json = False,
) -> None:
    """Print the G2P_TVM_* variables that link a model into a cargo build, as shell exports."""
    cache = Cache(notice=note)
    with TerminalProgress(sys.stderr).stage("preparing what cargo links") as stage:
        runtime = None if dynamic else build_runtime(cache=cache, progress=stage.describe)
        if smoke:
            folder = make_smoke("g2p_test_", "llvm", cache=cache, progress=stage.describe)
            variables = _library_variables(folder / SMOKE_ARCHIVE, "g2p_test_", runtime)
        else:
            options = ModelOptions(own=given(context))
            found = compilables(options, kv_cache=kv_cache, cache=cache, progress=stage.describe)
            archive = compile_models(CompileRequest(found, precision=precision), cache=cache, progress=stage.describe)
            variables = _library_variables(archive.path, archive.metadata.prefix_base, runtime)
            variables |= runner_variables(archive)
    if as_json:
        print_json(LinkEnvDocument(variables=variables))
        return
    for name, value in variables.items():
        print(f"export {name}={shlex.quote(value)}")


def _library_variables(archive: Path, prefix: str, runtime: RuntimeLibs | None) -> dict[str, str]:
    return wheel_library_variables(archive, prefix) if runtime is None else link_variables(archive, prefix, runtime)


def deliver(source: Path, folder: Path) -> Path:
    """Copy a file out of the cache, whole or not at all."""
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
    target = folder / source.name
    with writing(target), replacing(target) as partial:
        shutil.copyfile(source, partial)
        partial.chmod(0o644)
    return target
