"""``system_lib_metadata.json``: what stands beside an archive, for the runner and for Rust apps."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from harness.errors import HarnessError
from harness.protocol import OrderModel, Precision

FILE_NAME = "system_lib_metadata.json"


class BadMetadata(HarnessError):
    """An archive's metadata is missing or not of the schema."""

    cure = "compile again with `harness compile`"


class ArchiveMetadata(BaseModel):
    """The published schema (first ten fields, in its order) and our extra keys; see ``docs/metadata.md``."""

    model_config = ConfigDict(extra="allow", frozen=True)

    archive: str
    prefix_base: str
    prefixes: dict[str, str]
    checkpoint: str
    batch_size: int
    max_input_bytes: int
    max_output_len: int
    target: str
    output_ext: Literal["so"] = "so"
    use_kv_cache: bool

    schema_version: Literal[1] = 1
    kind: Literal["g2p"] = "g2p"
    archive_sha256: str
    checkpoint_sha256: str
    vocab_size: int
    decoder_start_token_id: int
    eos_token_id: int
    self_cache_shape: list[int] | None
    """[batch, ...]: the memory that the caller gives the decoding step; None without a cache."""
    self_cache_dtype: Literal["float32", "float16"] = "float32"
    precision: Precision = "fp32"
    """What the weights are stored and multiplied in."""
    profiled: bool = False
    """Whether its kernels tell when they begin and end: an archive for profiles, not for an app."""
    weights_bytes: int = 0
    """Size of the linked weights, which all functions share."""
    tuned_trials: int = 0
    """Measured candidates that the schedules of functions without a template were chosen from."""
    prompt_space: bool
    languages: list[str] | None
    """The codes the model knows; None when any may be given."""
    mcpu: str | None = None
    """Name of the CPU it was compiled for (``harness.compiler.cpus``)."""
    cpu_features: list[str] = []
    """What compiled code may use of the CPU, in the runner's words; the runner refuses one that lacks any."""
    max_threads: int
    """Threads the kernels can use: more are refused rather than ignored."""
    tvm_version: str
    system_lib_target: dict[str, Any]

    def order_model(self, name: str = "g2p") -> OrderModel:
        """The model as a work order names it."""
        return OrderModel(
            name=name,
            prefixes=self.prefixes,
            use_kv_cache=self.use_kv_cache,
            batch_size=self.batch_size,
            max_input_bytes=self.max_input_bytes,
            max_output_len=self.max_output_len,
            vocab_size=self.vocab_size,
            decoder_start_token_id=self.decoder_start_token_id,
            eos_token_id=self.eos_token_id,
            self_cache_shape=self.self_cache_shape,
            self_cache_dtype=self.self_cache_dtype,
            precision=self.precision,
            prompt_space=self.prompt_space,
        )


def read_metadata(folder: Path) -> ArchiveMetadata:
    """The metadata in an archive's folder; raises BadMetadata."""
    path = folder / FILE_NAME
    try:
        return ArchiveMetadata.model_validate_json(path.read_bytes())
    except OSError as error:
        raise BadMetadata(f"cannot read {path}: {error.strerror}") from error
    except ValidationError as error:
        raise BadMetadata(
            f"{path} is not of the schema: {error.errors()[0]['loc']}: {error.errors()[0]['msg']}"
        ) from error
