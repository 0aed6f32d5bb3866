"""The suites' options, and the run that they ask for."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from harness.devices import Device, Selection
    from harness.maker import RunOptions
    from harness.session import RunSession


def add_options(parser: pytest.Parser) -> None:
    """Register the suites' options; for a ``conftest.py``."""
    group = parser.getgroup("harness", "harness: run a model on a device and compare it with PyTorch")
    add = group.addoption
    add(
        "--device",
        dest="harness_device",
        metavar="KIND[:WHICH]",
        help="device to run on: host; android, android:SERIAL, android:A,B or android:all; ios, ios:UDID, ios:A,B or "
        "ios:all; virtual-android or virtual-android:N; virtual-ios, virtual-ios:16 or virtual-ios:17",
    )
    add(
        "--serial",
        "--udid",
        dest="harness_serial",
        metavar="S",
        help="the Android device of that serial (or ANDROID_SERIAL), the iPhone of that UDID",
    )
    add(
        "--ios-sign-command",
        dest="harness_ios_sign_command",
        metavar="CMD",
        help="what signs the app bundle whose path it is given ({} or last), such as "
        "'codesign -f -s NAME --entitlements FILE {}'",
    )
    add("--ios-bundle-id", dest="harness_ios_bundle_id", metavar="ID", help="bundle id that your profile allows")
    add(
        "--ios-launcher",
        dest="harness_ios_launcher",
        metavar="L",
        choices=("appservice", "dvt", "debugserver"),
        help="how the app is started: appservice (default for iOS 17 and newer), dvt (default before), debugserver",
    )
    add(
        "--ios-keep-app",
        dest="harness_ios_keep_app",
        action="store_true",
        help="leave the app on the iPhone, so that the same build is not installed again next time",
    )
    add(
        "--checkpoint",
        dest="harness_checkpoint",
        default="embedded",
        metavar="C",
        help="model: embedded (default), random:tiny-8, a folder, or a hub id",
    )
    add(
        "--models",
        dest="harness_models",
        action="append",
        default=[],
        metavar="M",
        help="a Python file with a ModelSpec, or g2p, detector, bert, or what an installed package offers; several put "
        "them all into one binary (default: g2p alone)",
    )
    add(
        "--words",
        dest="harness_words",
        type=Path,
        metavar="FILE",
        help="word<TAB>pronunciation with --lang, or lang<TAB>word<TAB>pronunciation; the pronunciation may be "
        "missing (default: 10 held-out words of each language, 2 of each where code is emulated)",
    )
    add("--lang", dest="harness_lang", metavar="CODE", help="language of the words, such as eng-us")
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
        choices=("fp32", "fp16", "int8"),
        help="of the compiled model: fp32 (default), fp16 weights, or int8 weights and activations",
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
        help="on this machine: seconds for which each model is timed in turns with PyTorch (5; 0: not at all)",
    )
    add(
        "--profile",
        dest="harness_profile",
        action="store_true",
        help="time per operator and per module, in a pass of its own on an archive with marks (docs/profiling.md)",
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
        help="measure the runner beside this baseline's in interleaved pairs, and fail if it became slower, larger or "
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


EMULATED_WORDS = 26
"""Two of each shipped language. Emulated code takes 0.8 s a word and more without the cache: all 130 in both variants
take minutes, and find nothing that these do not; a phone's processor is what they are for."""
EMULATED_TIMED = 4


def run_options(config: pytest.Config, device: Device) -> RunOptions:
    """What the command line asks for, with the defaults for this device."""
    from harness.maker import RunOptions

    get = config.getoption
    repeat, warmup, words = get("harness_repeat"), get("harness_warmup"), get("harness_words")
    smoke = device.emulated and repeat is None and warmup is None
    # A companion runs in the app's place as this machine's own code, as fast as any.
    slow = device.emulated and device.companion is None
    usual = (0, 1) if device.emulated else (2, 5)
    return RunOptions(
        device=get("harness_device"),
        checkpoint=get("harness_checkpoint"),
        models=tuple(get("harness_models")),
        words=words,
        word_sample=EMULATED_WORDS if slow and words is None else None,
        timed_items=EMULATED_TIMED if smoke else None,
        language=get("harness_lang"),
        use_kv_cache=get("harness_kv_cache"),
        precision=get("harness_precision"),
        mcpu=get("harness_mcpu"),
        threads=get("harness_threads"),
        warmup=usual[0] if warmup is None else warmup,
        repeat=usual[1] if repeat is None else repeat,
        pair_seconds=get("harness_pair_seconds"),
        profile=get("harness_profile"),
        results_dir=get("harness_results_dir"),
        tolerance=get("harness_tolerance"),
        min_agreement=get("harness_min_agreement"),
        max_per_change=get("harness_max_per_change"),
        deadline=get("harness_deadline"),
        cooldown=get("harness_cooldown"),
        baseline=get("harness_baseline"),
        ios_bundle_id=get("harness_ios_bundle_id"),
    )


def announcements(run: RunSession) -> list[str]:
    """What a person should know before it begins: what of all that could be run is."""
    options, told = run.options, list[str]()
    if run.words_of is not None:
        told.append(
            f"{len(run.words)} of {run.words_of} words are run, spread over languages and lengths, because its code is "
            "emulated (--words FILE runs all of a file)"
        )
    if options.timed_items is not None:
        told.append(
            f"an emulator's times mean nothing: a smoke of the latency suite, {options.repeat} pass of up to "
            f"{options.timed_items} words or items without warm-up (--repeat 5 times all of them)"
        )
    return told


def selected(config: pytest.Config) -> Selection:
    """The devices that are asked for; raises UnknownDevice."""
    from harness.devices import parse_device

    get = config.getoption
    return parse_device(
        str(get("harness_device")),
        serial=get("harness_serial"),
        sign_command=get("harness_ios_sign_command"),
        launcher=get("harness_ios_launcher"),
        keep_app=get("harness_ios_keep_app"),
    )
