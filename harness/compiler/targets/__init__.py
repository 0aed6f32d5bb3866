"""Define what an archive is compiled for: targets, their CPUs, and the profiles of instruction sets. Imports no TVM."""

from harness.compiler.targets.target import (
    TARGET_NAMES,
    CompileTarget,
    ObjectFormat,
    UnknownTarget,
    resolve_target,
)

__all__ = ["TARGET_NAMES", "CompileTarget", "ObjectFormat", "UnknownTarget", "resolve_target"]
