"""The reference of environment variables. A test compares the harness's own with those that the sources name."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

PAGE = "reference/environment.md"


@dataclass(frozen=True)
class Variable:
    """Describe a variable: its value, what it does, and the page with more."""

    name: str
    value: str
    text: str
    page: str = ""


HARNESS = (
    Variable(
        "HARNESS_ADB_SERVERS", "HOST:PORT,…", "Use these adb servers where `--adb-server` is not given.", "android.md"
    ),
    Variable("HARNESS_CACHE_DIR", "DIR", "Keep the cache there. Without it the cache is in the user's cache folder."),
    Variable("HARNESS_CACHE_KEY", "32 or more characters", "Sign and check what a shared cache holds.", "lab.md"),
    Variable(
        "HARNESS_CACHE_UNSIGNED", "1", "Use a shared cache without signatures, because it is yours alone.", "lab.md"
    ),
    Variable(
        "HARNESS_CACHE_URL", "s3://… or file:///…", "Share compiled archives with other machines there.", "lab.md"
    ),
    Variable(
        "HARNESS_IOS_CERTIFICATE_PASSWORD", "text", "Open the file of `--ios-certificate` with it.", "ios-build.md"
    ),
    Variable("HARNESS_LAB_SCHEDULER", "tcp://… or tls://…", "Use this lab's scheduler.", "lab.md"),
    Variable("HARNESS_LAB_STORE", "s3://… or file:///…", "Exchange a lab's files there.", "lab.md"),
    Variable("HARNESS_LAB_TLS_CA", "FILE", "Trust this authority in a lab.", "lab.md"),
    Variable("HARNESS_LAB_TLS_CERT", "FILE", "Show this certificate in a lab.", "lab.md"),
    Variable("HARNESS_LAB_TLS_KEY", "FILE", "The certificate's key.", "lab.md"),
    Variable("HARNESS_LAB_TOKEN", "TEXT", "Show this token to a lab that wants one.", "lab.md"),
    Variable(
        "HARNESS_RESULTS_URL", "s3://… or file:///…", "Upload runs and nightly runs to this store.", "results-store.md"
    ),
    Variable(
        "HARNESS_RUST_ROUTE", "rustup or debian", "Take Rust for other machines only from there.", "toolchains.md"
    ),
    Variable("HARNESS_RUST_WORKSPACE", "DIR", "Build runners from this Rust workspace, not from the package's own."),
    Variable("HARNESS_TRACEBACK", "1", "Show where an error that nobody expected happened.", "cli.md"),
    Variable(
        "HARNESS_THERMAL_STATE_FILE",
        "FILE",
        "Read a virtual iPhone's thermal state from it (the runner).",
        "ios-build.md",
    ),
)
OTHERS = (
    Variable("ANDROID_NDK_HOME", "DIR", "Link Android runners with this NDK.", "toolchains.md"),
    Variable("ANDROID_SERIAL", "SERIAL", "Use this phone where several are attached.", "android.md"),
    Variable("AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY", "text", "Credentials of a store on S3.", "results-store.md"),
    Variable("AWS_ENDPOINT, AWS_REGION", "URL, text", "Where that store is.", "results-store.md"),
    Variable("AWS_ALLOW_HTTP", "true", "Allow a store without TLS.", "results-store.md"),
    Variable("CXX", "program", "Compile TVM's runtime for this machine with it.", "rust.md"),
    Variable("FORCE_COLOR, NO_COLOR, TERM", "", "Turn colours on or off.", "cli.md"),
    Variable("USBMUXD_SOCKET_ADDRESS", "HOST:PORT or FILE", "Reach iPhones through this daemon.", "ios.md"),
)
INTERNAL = {
    "HARNESS_ARCHIVE": "given to a runner's build",
    "HARNESS_ARCHIVE_PREFIX": "given to a runner's build",
    "HARNESS_ARCHIVE_SHA256": "given to a runner's build",
    "HARNESS_CPU_FEATURES": "given to a runner's build",
    "HARNESS_RUNNER_APP": "given to a runner's build",
    "HARNESS_TESTS_BENCH": "marks the processes of a test",
}
"""Variables that the harness sets for programs that it starts itself, and why. Nobody else sets them."""


def pages() -> dict[str, str]:
    """Return the page by its path in docs."""
    lines = ["# Environment variables", "", "An option on the command line goes before a variable.", ""]
    lines += ["## The harness's own", "", *_list(HARNESS), "## Those of others", "", *_list(OTHERS)]
    lines += ["[The Rust crates](../rust.md) lists those that a build of an app reads (`G2P_TVM_…`)."]
    return {PAGE: "\n".join(lines) + "\n"}


def _list(variables: tuple[Variable, ...]) -> Iterator[str]:
    for one in variables:
        value = f" = *{one.value}*" if one.value else ""
        more = f" [More](../{one.page})." if one.page else ""
        yield ", ".join(f"`{name}`" for name in one.name.split(", ")) + value
        yield from [f":   {one.text}{more}", ""]
