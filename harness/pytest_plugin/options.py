"""Register the suites' options, and make a run's options from them."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from harness.core.options import Option
    from harness.devices import Device, DeviceOption, Selection
    from harness.models.options import ModelOption
    from harness.run.builder import RunOptions
    from harness.run.session import RunSession


LONG_PREFIX = "--harness-"
"""The prefix of an option whose short name belongs to another plugin; it is always accepted."""
TAKEN_OPTIONS = pytest.StashKey[list[str]]()
"""The names of options that belong to another plugin here."""


def add_options(parser: pytest.Parser, models: Sequence[str] = ()) -> list[str]:
    """Register the suites' options, once.

    A ``conftest.py`` may call this too, and name the project's ``models``. Returns the names that belong to another
    plugin here; those options have only their long name, ``--harness-…``.
    """
    group = parser.getgroup("harness", "harness: run a model on a device and compare it with PyTorch")
    if models:
        add_models_key(parser, models)
    if group.options:
        return []
    taken = taken_names(parser, option_names())

    def add(*names: str, **settings: Any) -> None:
        free = [name for name in names if name not in taken]
        group.addoption(*free, *(LONG_PREFIX + name.removeprefix("--") for name in names), **settings)

    _add_all(add)
    return taken


def add_models_key(parser: pytest.Parser, models: Sequence[str] = ()) -> None:
    """Register the configuration's key for a project's models, and its default."""
    parser.addini(
        "harness_models",
        "models that the shipped suites run without --models: Python files, relative to this file, or names",
        type="linelist",
        default=list(models),
    )


def all_options() -> list[tuple[tuple[str, ...], dict[str, Any]]]:
    """Return the short names of each option and what pytest is given about it."""
    found: list[tuple[tuple[str, ...], dict[str, Any]]] = []
    _add_all(lambda *names, **settings: found.append((names, settings)))
    return found


def option_names() -> list[str]:
    """Return the short names of all options."""
    return [name for names, _settings in all_options() for name in names]


def options_with_a_value() -> set[str]:
    """Return the short and long names of the options that take a value."""
    found: set[str] = set()
    for names, settings in all_options():
        if not str(settings.get("action", "")).startswith("store_"):
            found.update(names, (LONG_PREFIX + name.removeprefix("--") for name in names))
    return found


def taken_names(parser: pytest.Parser, names: Sequence[str]) -> list[str]:
    """Return the names that the command line accepts already."""

    def free(some: Sequence[str]) -> list[str]:
        try:
            return parser.parse_known_and_unknown_args(some)[1]
        except pytest.UsageError:  # Another plugin's option, which wants a value.
            return []

    if free(names) == list(names):
        return []
    return [name for name in names if not free([name])]


def _add_all(add: Callable[..., None]) -> None:
    own: list[str] = []
    _add_device(lambda *names, **_settings: own.extend(names))
    _add_own(lambda *names, **_settings: own.extend(names))
    _add_device(add)
    of_devices = _of_devices(taken=own)
    for option in of_devices.values():
        _add_option(add, option)
    _add_own(add)
    taken = [*own, *(name for option in of_devices.values() for name in option.names)]
    for of_model in _of_models(taken=taken).values():
        _add_option(add, of_model)


def _add_option(add: Callable[..., None], option: Option) -> None:
    settings: dict[str, Any] = {"metavar": option.metavar, "type": option.value}
    if option.switch:
        settings = {"action": "store_const", "const": True}
        if option.off is not None:
            add(option.off, dest=f"harness_{option.key}", action="store_const", const=False, help="not this")
    if option.several:
        settings["action"] = "append"
    if option.choices:
        settings["choices"] = option.choices
    add(*option.names, dest=f"harness_{option.key}", help=option.help, **settings)


def _of_devices(*, taken: Collection[str] = ()) -> dict[str, DeviceOption]:
    """Return the options of the installed kinds of devices."""
    from harness.devices import device_kinds, device_options

    with _usage():
        return device_options(device_kinds().values(), "suites", taken=taken)


def _of_models(*, taken: Collection[str] = ()) -> dict[str, ModelOption]:
    """Return the options of the installed kinds of workloads."""
    from harness.models.kinds import model_options

    with _usage():
        return model_options("suites", taken=taken)


@contextmanager
def _usage() -> Iterator[None]:
    """Let pytest print a UsageError, such as a kind that cannot be loaded, as it prints its own."""
    from harness.core.errors import UsageError

    try:
        yield
    except UsageError as error:
        raise pytest.UsageError(f"harness: {error}") from error


def _add_device(add: Callable[..., None]) -> None:
    from harness.devices import device_kinds

    with _usage():
        kinds = list(device_kinds().values())
    add(
        "--device",
        dest="harness_device",
        metavar="KIND[:WHICH]",
        help=f"device to run on: {'; '.join(kind.forms or kind.name for kind in kinds)}",
    )


def _add_own(add: Callable[..., None]) -> None:
    add(
        "--models",
        dest="harness_models",
        action="append",
        default=[],
        metavar="M",
        help="a Python file with a ModelSpec, a .pt2 file, the folder of a Hugging Face model, hf:NAME, timm:NAME, "
        "torchvision:NAME, generate:FOLDER, generate:FILE.gguf or random:NAME for a language model, or g2p, detector, "
        "bert, byte-lm, or what an installed package offers; several put them all into one binary (default: g2p alone)",
    )
    add(
        "--allow-pickle",
        dest="harness_allow_pickle",
        action="store_true",
        help="read pickles in files of --models, which can run any program: for files that you trust",
    )
    add(
        "--kv-cache",
        dest="harness_kv_cache",
        action="store_true",
        default=True,
        help="time the variant with the key-value cache (default)",
    )
    add(
        "--no-kv-cache",
        dest="harness_kv_cache",
        action="store_false",
        help="time the variant without it",
    )
    add(
        "--precision",
        dest="harness_precision",
        default="fp32",
        choices=("fp32", "fp16", "int8", "int4"),
        help="of the compiled model: fp32 (default), fp16 weights, int8 weights and activations, or int4 weights "
        "(language models only)",
    )
    add(
        "--keep-wide",
        dest="harness_keep_wide",
        action="append",
        default=[],
        metavar="LAYERS",
        help="a pattern of layers that stay one precision wider, such as 'decoder_step/feed_forwards.*'; repeatable",
    )
    add(
        "--mcpu",
        dest="harness_mcpu",
        metavar="CPU",
        help="CPU to compile for, such as cortex-a76 (default: what the oldest supported device runs)",
    )
    add("--threads", dest="harness_threads", type=int, default=1, metavar="N", help="threads of both sides (1)")
    add(
        "--repeat",
        dest="harness_repeat",
        type=int,
        metavar="N",
        help="timed passes over all words and items (5; on an emulated device 1, over a few of them)",
    )
    add(
        "--warmup",
        dest="harness_warmup",
        type=int,
        metavar="N",
        help="passes before them (2; on an emulated device 0)",
    )
    add(
        "--pair-seconds",
        dest="harness_pair_seconds",
        type=float,
        default=5.0,
        metavar="S",
        help="on this machine: seconds for which each model is timed alternately with PyTorch (5; 0: not at all)",
    )
    add(
        "--profile",
        dest="harness_profile",
        action="store_true",
        help="time per operator and per module, in a pass of its own on an instrumented archive (docs/profiling.md)",
    )
    add(
        "--results-dir",
        dest="harness_results_dir",
        type=Path,
        default=Path("results"),
        metavar="DIR",
        help="folder that keeps the runs (results)",
    )
    add(
        "--results-url",
        dest="harness_results_url",
        metavar="URL",
        help="store for the results of everybody: s3://BUCKET/PREFIX or file:///FOLDER (or HARNESS_RESULTS_URL)",
    )
    add(
        "--tolerance",
        dest="harness_tolerance",
        type=float,
        default=1e-3,
        metavar="X",
        help="largest top-2 logit margin at which another token is a declared tie (0.001)",
    )
    add(
        "--min-agreement",
        dest="harness_min_agreement",
        type=float,
        metavar="SHARE",
        help="least share of words with PyTorch's tokens (fp32: 1; fp16 and int8: 0.98)",
    )
    add(
        "--max-per-change",
        dest="harness_max_per_change",
        type=float,
        metavar="X",
        help="the most that PER may exceed PyTorch's where agreement below 1 is allowed (0.005, half a point)",
    )
    add(
        "--baseline",
        dest="harness_baseline",
        metavar="NAME",
        help="measure the runner and this baseline's in interleaved pairs, and fail if it became slower, larger or "
        "wrong (harness baseline list; docs/measuring.md)",
    )
    add(
        "--cooldown",
        dest="harness_cooldown",
        type=float,
        default=180.0,
        metavar="S",
        help="seconds to wait for a phone to be cool and charged enough before it is timed (180)",
    )
    add(
        "--deadline",
        dest="harness_deadline",
        type=float,
        default=600.0,
        metavar="S",
        help="seconds that one work order may take on the device (600)",
    )


def use_configured_models(config: pytest.Config) -> None:
    """Take the models that the configuration file names if ``--models`` is missing."""
    configured = config.getini("harness_models")
    if not configured or config.getoption("harness_models", None) != []:
        return
    base = config.inipath.parent if config.inipath else config.invocation_params.dir
    here = config.invocation_params.dir

    def from_here(name: str) -> str:
        is_file = name.endswith(".py") or "/" in name  # the same rule as in harness.models.tensor.sources
        return os.path.relpath(base / name, here) if is_file else name

    config.option.harness_models = [from_here(name) for name in configured]


EMULATED_WORDS = 26
"""Two words of each shipped language. Emulated code takes 0.8 s a word, and more without the cache. All 130 words in
both variants take minutes and find nothing more, because they are for a phone's processor."""
EMULATED_TIMED = 4


def run_options(config: pytest.Config, device: Device) -> RunOptions:
    """Return the run's options from the command line, with the defaults for this device."""
    from harness.run.builder import RunOptions

    get = config.getoption
    repeat, warmup = get("harness_repeat"), get("harness_warmup")
    offered = _of_models()
    own = {key: get(f"harness_{key}") for key in offered}
    chosen = any(option.picks_items and own[key] is not None for key, option in offered.items())
    smoke = device.emulated and repeat is None and warmup is None
    # A companion runs instead of the app, as this machine's own code and at full speed.
    slow = device.emulated and device.companion is None
    usual = (0, 1) if device.emulated else (2, 5)
    return RunOptions(
        device=get("harness_device"),
        models=tuple(get("harness_models")),
        item_sample=EMULATED_WORDS if slow and not chosen else None,
        timed_items=EMULATED_TIMED if smoke else None,
        use_kv_cache=get("harness_kv_cache"),
        precision=get("harness_precision"),
        keep_wide=tuple(get("harness_keep_wide")),
        mcpu=get("harness_mcpu"),
        threads=get("harness_threads"),
        warmup=usual[0] if warmup is None else warmup,
        repeat=usual[1] if repeat is None else repeat,
        pair_seconds=get("harness_pair_seconds"),
        profile=get("harness_profile"),
        results_dir=get("harness_results_dir"),
        tolerance=get("harness_tolerance"),
        allow_pickle=get("harness_allow_pickle"),
        min_agreement=get("harness_min_agreement"),
        max_per_change=get("harness_max_per_change"),
        deadline=get("harness_deadline"),
        cooldown=get("harness_cooldown"),
        baseline=get("harness_baseline"),
        **{key: get(f"harness_{key}") for key, option in _of_devices().items() if option.of_run},
        own={key: value for key, value in own.items() if value is not None},
    )


def announcements(run: RunSession) -> list[str]:
    """Return what a person should know before the run begins: which part of all items is run."""
    options, lines = run.options, list[str]()
    for one in run.context.workloads:
        if one.items_of is not None:
            lines.append(
                f"{len(one.items)} of {one.items_of} {one.unit}s are run, spread over languages and lengths, because "
                "its code is emulated (--words FILE runs all of a file)"
            )
    if options.timed_items is not None:
        lines.append(
            f"an emulator's times mean nothing: a smoke of the latency suite, {options.repeat} pass of up to "
            f"{options.timed_items} words or items without warm-up (--repeat 5 times all of them)"
        )
    return lines


def selected(config: pytest.Config) -> Selection:
    """Return the selected devices; raises UnknownDevice."""
    from harness.devices import parse_device

    get = config.getoption
    return parse_device(str(get("harness_device")), **{key: get(f"harness_{key}") for key in _of_devices()})
