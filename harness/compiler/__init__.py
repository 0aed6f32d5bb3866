"""Compile torch → Relax → scheduled kernels → system-lib archive with metadata.

Importing this needs no torch or tvm.
"""

from harness.compiler.bundle import BundleRequest, compile_bundle
from harness.compiler.front import Archive, CompileRequest, compile_models, compile_smoke
from harness.compiler.metadata import ArchiveMetadata, read_metadata

__all__ = [
    "Archive",
    "ArchiveMetadata",
    "BundleRequest",
    "CompileRequest",
    "compile_bundle",
    "compile_models",
    "compile_smoke",
    "read_metadata",
]
