"""Build TVM's runtime as static libraries, build the runner, and inspect the finished binary."""

from harness.native.compilers import ToolchainMissing
from harness.native.inspection import BinaryFacts, MissingRegistration, check_registrations, inspect
from harness.native.ios.app import BUNDLE_ID, AppOptions, pack_app, unpack_app
from harness.native.ios.checks import check_app
from harness.native.ios.facts import AppFacts, app_facts
from harness.native.ios.signing import sign_app
from harness.native.runner import Runner, build_runner, link_variables, runner_variables, wheel_library_variables
from harness.native.runtime import RuntimeLibs, build_runtime

__all__ = [
    "BUNDLE_ID",
    "AppFacts",
    "AppOptions",
    "BinaryFacts",
    "MissingRegistration",
    "Runner",
    "RuntimeLibs",
    "ToolchainMissing",
    "app_facts",
    "build_runner",
    "build_runtime",
    "check_app",
    "check_registrations",
    "inspect",
    "link_variables",
    "pack_app",
    "runner_variables",
    "sign_app",
    "unpack_app",
    "wheel_library_variables",
]
