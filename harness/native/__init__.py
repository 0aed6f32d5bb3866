"""TVM's runtime as static libraries, the runner's build, and a look into the finished binary."""

from harness.native.compilers import ToolchainMissing
from harness.native.inspection import BinaryFacts, MissingRegistration, check_registrations, inspect
from harness.native.runner import Runner, build_runner, link_variables, runner_variables, wheel_library_variables
from harness.native.runtime import RuntimeLibs, build_runtime

__all__ = [
    "BinaryFacts",
    "MissingRegistration",
    "Runner",
    "RuntimeLibs",
    "ToolchainMissing",
    "build_runner",
    "build_runtime",
    "check_registrations",
    "inspect",
    "link_variables",
    "runner_variables",
    "wheel_library_variables",
]
