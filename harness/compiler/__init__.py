"""Compile torch → Relax → scheduled kernels → system-lib archive with metadata.

Importing this needs no torch or tvm.
"""

from harness.compiler.front import CompileRequest, compile_models, compile_smoke
from harness.compiler.metadata import Archive, ArchiveMetadata, read_metadata

__all__ = [
    "Archive",
    "ArchiveMetadata",
    "CompileRequest",
    "compile_models",
    "compile_smoke",
    "read_metadata",
]
