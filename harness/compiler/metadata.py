"""Write and read ``system_lib_metadata.json`` next to an archive, for the runner and for Rust apps."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from harness.core.errors import HarnessError
from harness.models.tensor.described import InputFacts, OutputFacts
from harness.models.workload import TOKENIZER_SUFFIX, Compilable
from harness.protocol.schema import GenerationWorkload, Kind, LanguageWorkload, Precision, TensorWorkload

AnyWorkload = GenerationWorkload | TensorWorkload | LanguageWorkload
FILE_NAME = "system_lib_metadata.json"
G2P_KEYS = frozenset(
    {"prefixes", "checkpoint", "batch_size", "max_input_bytes", "max_output_len", "use_kv_cache", "checkpoint_sha256"}
    | {"vocab_size", "decoder_start_token_id", "eos_token_id", "self_cache_shape", "prompt_space", "languages"}
)
"""The keys that the metadata of a G2P model must have."""


class BadMetadata(HarnessError):
    """An archive's metadata is missing or not of the schema."""

    cure = "compile again with `harness compile`"


class ModelMetadata(BaseModel):
    """Describe a tensor workload in the archive."""

    model_config = ConfigDict(extra="allow", frozen=True)

    name: str
    kind: Literal["tensors"] = "tensors"
    prefix: str
    inputs: list[InputFacts]
    outputs: list[OutputFacts]
    weights_sha256: str
    """SHA-256 of PyTorch's parameters and buffers."""
    weights_bytes: int
    """The bytes of the linked weights."""

    def workload(self) -> TensorWorkload:
        """Return the model in the form of an order."""
        inputs, outputs = ([one.name for one in listed] for listed in (self.inputs, self.outputs))
        return TensorWorkload(name=self.name, functions={"main": self.prefix}, inputs=inputs, outputs=outputs)


class LanguageMetadata(BaseModel):
    """Describe a language model in the archive."""

    model_config = ConfigDict(extra="allow", frozen=True)

    name: str
    kind: Literal["language"] = "language"
    prefix: str
    prefixes: dict[str, str]
    vocab_size: int
    capacity: int
    block: int
    new_tokens: int
    stop_tokens: list[int] = []
    """Tokens that end a generation, from the model's own configuration."""
    cache_shape: list[int]
    cache_dtype: Literal["float32", "float16"]
    tokenizer_sha256: str | None = Field(default=None, exclude_if=lambda value: value is None)
    """SHA-256 of the ``tokenizer.json`` beside the archive; None if the model takes token ids only."""
    context: int | None = Field(default=None, exclude_if=lambda value: value is None)
    """The positions that the model knows, if the cache has more."""
    weights_sha256: str
    """SHA-256 of the weights' files, or of the configuration and the seed they are drawn from."""
    weights_bytes: int
    """The bytes of the linked weights."""

    def workload(self) -> LanguageWorkload:
        """Return the model in the form of an order."""
        sizes = ("vocab_size", "capacity", "block", "new_tokens", "stop_tokens", "cache_shape", "cache_dtype")
        return LanguageWorkload(
            name=self.name, functions=self.prefixes, **{name: getattr(self, name) for name in sizes}
        )


class ArchiveMetadata(BaseModel):
    """Hold the published schema (the first ten fields, in its order) and our extra keys; see ``docs/metadata.md``.

    An archive without a G2P model has the kind ``tensors`` and none of the G2P keys; they are empty here.
    """

    model_config = ConfigDict(extra="allow", frozen=True)

    archive: str
    prefix_base: str
    prefixes: dict[str, str] = {}
    checkpoint: str = ""
    batch_size: int = 0
    max_input_bytes: int = 0
    max_output_len: int = 0
    target: str
    output_ext: Literal["so"] = "so"
    use_kv_cache: bool = False

    schema_version: Literal[1] = 1
    kind: Literal["g2p", "tensors"] = "g2p"
    models: list[Annotated[ModelMetadata | LanguageMetadata, Field(discriminator="kind")]] = []
    """The other workloads, with the G2P model or alone."""
    archive_sha256: str
    checkpoint_sha256: str = ""
    vocab_size: int = 0
    decoder_start_token_id: int = 0
    eos_token_id: int = 0
    self_cache_shape: list[int] | None = None
    """[batch, ...]: the memory that the caller passes to the decoding step; None without a cache."""
    self_cache_dtype: Literal["float32", "float16"] = "float32"
    precision: Precision = "fp32"
    """The precision of the stored weights and of their products."""
    keep_wide: list[str] = []
    """Patterns of the layers that are stored one precision wider; left out if there are none."""
    profiled: bool = False
    """True if it is instrumented for profiling: such an archive is not for an app."""
    tapped: bool = False
    """True if it is instrumented for tracing (``harness explain``): such an archive is not for an app."""
    weights_bytes: int = 0
    """The bytes of the linked weights, which all functions share."""
    tuned_trials: int = 0
    """The number of measured candidates from which the schedules of functions without a template were chosen."""
    prompt_space: bool = True
    languages: list[str] | None = None
    """The model's language codes; None if any is allowed."""
    mcpu: str | None = None
    """The name of the CPU for which it was compiled (``harness.compiler.targets.cpus``)."""
    cpu_features: list[str] = []
    """CPU features that compiled code may use, by the runner's names; the runner refuses a CPU that lacks one."""
    max_threads: int
    """Threads that the kernels can use; the runner refuses more instead of ignoring them."""
    tvm_version: str
    system_lib_target: dict[str, Any]

    @classmethod
    def of(cls, model: Compilable, facts: Mapping[str, Any], **whole: Any) -> ArchiveMetadata:
        """Return the metadata of one model's archive; ``facts`` are the fields that compiling found."""
        if model.kind == "generation":
            return cls(prefix_base=model.prefix, prefixes=model.prefixes, **model.metadata, **facts, **whole)
        named: dict[str, Any] = {"name": model.name, "prefix": model.prefix, **model.metadata, **facts}
        described: ModelMetadata | LanguageMetadata
        if model.kind == "language":
            described = LanguageMetadata(prefixes=model.prefixes, **named)
        else:
            described = ModelMetadata(**named)
        weights = described.weights_bytes
        return cls(prefix_base=model.prefix, kind="tensors", models=[described], weights_bytes=weights, **whole)

    def as_json(self) -> str:
        """Return the file's content; the fields of a model that generates text are left out without one."""
        absent = set() if self.kind == "g2p" else {*G2P_KEYS, "self_cache_dtype"}
        absent |= set() if self.keep_wide else {"keep_wide"}
        return self.model_dump_json(indent=2, exclude=absent) + "\n"

    @property
    def registrations(self) -> list[str]:
        """Return the prefixes of everything in the archive; a binary must have registered all of them."""
        others = [
            prefix
            for model in self.models
            for prefix in (model.prefixes.values() if isinstance(model, LanguageMetadata) else [model.prefix])
        ]
        return [*self.prefixes.values(), *others]

    @model_validator(mode="after")
    def _g2p_is_whole(self) -> ArchiveMetadata:
        if self.kind == "g2p" and G2P_KEYS - self.model_fields_set:
            raise ValueError(f"a G2P archive lacks {', '.join(sorted(G2P_KEYS - self.model_fields_set))}")
        return self

    def generation(self, name: str = "g2p") -> GenerationWorkload:
        """Return the archive's generation workload in the form of an order."""
        return GenerationWorkload(
            name=name,
            functions=self.prefixes,
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
        )

    def workload(self, name: str, kind: Kind) -> AnyWorkload | None:
        """Return a workload in the form of an order; None if the archive has none of that kind and name."""
        if kind == "generation":
            return self.generation(name) if self.kind == "g2p" else None
        found = (model.workload() for model in self.models if model.name == name)
        return next((one for one in found if one.kind == kind), None)


@dataclass(frozen=True)
class Archive:
    """Hold a compiled archive in ``folder`` with its metadata."""

    folder: Path
    metadata: ArchiveMetadata

    @property
    def path(self) -> Path:
        return self.folder / self.metadata.archive

    @property
    def sha256(self) -> str:
        return self.metadata.archive_sha256

    @property
    def tokenizers(self) -> dict[str, Path]:
        """Return the files of the models' tokenizers, by the models' names."""
        models = (model for model in self.metadata.models if isinstance(model, LanguageMetadata))
        return {
            model.name: self.folder / f"{model.name}{TOKENIZER_SUFFIX}" for model in models if model.tokenizer_sha256
        }


def read_metadata(folder: Path) -> ArchiveMetadata:
    """Return the metadata in an archive's folder; raises BadMetadata."""
    path = folder / FILE_NAME
    try:
        return ArchiveMetadata.model_validate_json(path.read_bytes())
    except OSError as error:
        raise BadMetadata(f"cannot read {path}: {error.strerror}") from error
    except ValidationError as error:
        raise BadMetadata(
            f"{path} is not of the schema: {error.errors()[0]['loc']}: {error.errors()[0]['msg']}"
        ) from error
