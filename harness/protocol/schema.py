"""Define the one schema that Python and the Rust runner share: a work order in, result records out.

``order.json`` holds a :class:`WorkOrder`; ``result.jsonl`` holds one :class:`Record` a line, flushed as
written: a header, the loads, a sample per repetition and batch, a probe per batch, the peak memory, and an
end record. A result without the end record of the same order is incomplete, whatever the exit status was.
All times are monotonic nanoseconds measured in the runner. ``docs/protocol.md`` explains every field.

An older runner, such as a baseline's, uses version 1. :mod:`harness.protocol.v1` translates its orders and records
where they are read and written, so that all other code handles only the current version.
"""

from __future__ import annotations

from enum import Enum
from typing import Annotated, Any, ClassVar, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    TypeAdapter,
    ValidationError,
    model_serializer,
    model_validator,
)

from harness.protocol import v1

SCHEMA_VERSION: Literal[2] = 2


Precision = Literal["fp32", "fp16", "int8", "int4"]
"""float32; weights of 16 bits, with float32 sums or exact ones; int8 weights and activations; int4 weights in groups of
32, which only language models have."""
PRECISIONS: tuple[Precision, ...] = ("fp32", "fp16", "int8", "int4")


class _Schema(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Phase(str, Enum):
    """Name the purpose of a sample."""

    FIRST = "first"
    """The first inference of the process: caches cold, pages untouched."""
    WARMUP = "warmup"
    TIMED = "timed"


class Tensors(_Schema):
    """Hold tensors by name inside an order or a record (see :mod:`harness.protocol.tensors`)."""

    size: int
    sha256: str
    """SHA-256 of the bytes, so that either side refuses changed bytes."""
    data: str
    """The bytes in the format safetensors, in base64."""


class TensorWorkload(_Schema):
    """Describe a model of the archive with one function, which takes tensors and returns tensors."""

    parts: ClassVar[tuple[str, ...]] = ()
    """The parts of a sample's time."""
    kind: Literal["tensor"] = "tensor"
    name: str
    functions: dict[str, str]
    """Maps the function ``main`` to its system-lib prefix."""
    inputs: list[str]
    """Names of the arguments, in their order."""
    outputs: list[str]
    """Names of the results, in their order."""

    @property
    def batch_size(self) -> int:
        """Return how many items a call runs."""
        return 1


class GenerationWorkload(_Schema):
    """Describe a model that generates text from a prompt, token by token, greedily (see ``docs/metadata.md``)."""

    parts: ClassVar[tuple[str, ...]] = ("encoder", "prefill", "step")
    kind: Literal["generation"] = "generation"
    name: str
    functions: dict[str, str]
    """Maps each function (encoder, decoder | decoder_prefill, decoder_step) to its system-lib prefix."""
    use_kv_cache: bool
    batch_size: int = Field(ge=1)
    max_input_bytes: int = Field(ge=1)
    max_output_len: int = Field(ge=1)
    vocab_size: int = Field(ge=1)
    decoder_start_token_id: int = 0
    eos_token_id: int = 1
    self_cache_shape: list[int] | None = None
    """The first dimension is the batch; the compiled model defines the others. None without a cache."""
    self_cache_dtype: Literal["float32", "float16"] = "float32"
    precision: Precision = "fp32"


class Sampling(_Schema):
    """Choose how a language model draws its tokens by chance, in the order of transformers' logits processors.

    What is left at its default changes nothing. The same seed and the same logits give the same tokens everywhere. Each
    item begins at the seed; an item whose tokens are ``forced`` draws none.
    """

    temperature: float = Field(default=1.0, gt=0)
    top_k: int = Field(default=0, ge=0)
    """0 means all tokens."""
    top_p: float = Field(default=1.0, ge=0, le=1)
    min_p: float = Field(default=0.0, ge=0, le=1)
    repetition_penalty: float = Field(default=1.0, gt=0)
    seed: int = Field(default=0, ge=0, lt=2**64)


class LanguageWorkload(_Schema):
    """Describe a decoder-only language model: token ids in, and the tokens that follow, greedily.

    An item's input is a tensor ``prompt``, int32[n]. It may also have one of two others. ``exactly``, int32[1]: so many
    tokens follow, and none of them ends the generation. ``forced``, int32[m]: tokens that are fed after the prompt
    instead of the model's own; the answer then has one token for each of them. With ``forced`` tokens there may be what
    another distribution gives at each step: its most probable tokens, ``top_tokens``, int32[m, n], and the natural
    logarithms of their probabilities, ``top_logarithms``, float32[m, n + 1], last that of all other tokens together.
    """

    parts: ClassVar[tuple[str, ...]] = ("prefill", "step")
    kind: Literal["language"] = "language"
    name: str
    functions: dict[str, str]
    """Maps ``prefill`` and ``step`` to their system-lib prefixes."""
    vocab_size: int = Field(ge=1)
    capacity: int = Field(ge=1)
    """The positions that the cache has room for: a prompt with the tokens that follow."""
    block: int = Field(ge=1)
    """The tokens of a prompt that one call of the prefill takes at most."""
    new_tokens: int = Field(ge=1)
    """The most tokens that follow each prompt."""
    stop_tokens: list[int] = Field(default=[], exclude_if=lambda value: not value)
    """Tokens that end a generation. The one that did is the last of the answer."""
    sampling: Sampling | None = Field(default=None, exclude_if=lambda value: value is None)
    """None means greedy: the token with the largest logit."""
    cache_shape: list[int]
    cache_dtype: Literal["float32", "float16"] = "float32"

    @property
    def batch_size(self) -> int:
        """Return how many items a call runs."""
        return 1


Kind = Literal["generation", "tensor", "language"]
"""What a workload does: one function over tensors, text from a prompt, or tokens that follow tokens."""
Workload = Annotated[TensorWorkload | GenerationWorkload | LanguageWorkload, Field(discriminator="kind")]


class WorkItem(_Schema):
    """Hold one input of one workload: the prompt of a generation, or the arguments of a tensor workload's function."""

    id: str
    workload: str
    input: str | Tensors
    label: str = Field(default="", exclude_if=lambda value: not value)
    """A person's name for it, such as the word; empty means its id. The runner does not use it."""
    subset: str = Field(default="", exclude_if=lambda value: not value)
    """The part of the data that it belongs to, such as a language; empty if there are none. The runner ignores it."""


class TapWindow(_Schema):
    """Choose the kernel calls of one item's probe that record their outputs; counted from 0 (``docs/explain.md``)."""

    item: str
    first: int = Field(ge=0)
    last: int = Field(ge=1)
    """The first call after the window, whose outputs are not recorded."""


class RecordOptions(_Schema):
    """Choose what the probe pass records besides token ids. The pass runs after the timed passes and is not timed."""

    margins: bool = False
    logit_steps: list[int] = []
    taps: TapWindow | None = Field(default=None, exclude_if=lambda value: value is None)
    """Only for an archive instrumented for tracing."""


class WorkOrder(_Schema):
    schema_version: Literal[1, 2] = SCHEMA_VERSION
    """1 means an older runner; the order is then written as that runner reads it."""
    order_id: str
    archive_sha256: str
    workloads: list[Workload]
    items: list[WorkItem]
    """They run in the order of their workloads. A call runs one, or a batch of them."""
    warmup: int = Field(default=1, ge=0)
    repetitions: int = Field(default=1, ge=0)
    threads: int = Field(default=1, ge=1)
    probe: RecordOptions | None = None
    skip_samples: int = Field(default=0, ge=0)
    """Samples of the passes, in their order, that an earlier process of this order has already recorded."""
    skip_probes: int = Field(default=0, ge=0)
    """Probes, in their order, that an earlier process of this order has already recorded."""
    slowdown_percent: float = Field(default=0.0, ge=0, le=1000, exclude_if=lambda value: not value)
    """For a test of the gate: the runner spends so much more time in each call, and reports it in its header."""

    @model_validator(mode="before")
    @classmethod
    def _read_version_1(cls, value: Any) -> Any:
        return v1.upgraded_order(value) if isinstance(value, dict) and "models" in value else value

    @model_serializer(mode="wrap")
    def _write_version_1(self, write: SerializerFunctionWrapHandler) -> dict[str, Any]:
        written: dict[str, Any] = write(self)
        return v1.downgraded_order(written) if self.schema_version == 1 else written


class Cpu(_Schema):
    model: str
    cores: int
    features: list[str]


class Header(_Schema):
    record: Literal["header"]
    schema_version: Literal[1, 2]
    order_id: str
    runner_version: str
    archive_sha256: str
    os: str
    arch: str
    cpu: Cpu
    threads: int
    pid: int
    started_unix_ns: int
    slowdown_percent: float = Field(default=0.0, ge=0, exclude_if=lambda value: not value)
    """If it is above 0, the times are no measurement of the model."""


class Load(_Schema):
    """Report that one function of a workload was taken from the system library and its VM initialised."""

    record: Literal["load"]
    workload: str
    function: str
    load_ns: int


Ended = Literal["length", "stop_token"]
"""Why a generation ended: it had all tokens that were asked for, or gave a token that ends it."""


class Output(_Schema):
    token_ids: list[int]
    """Generated ids with the end token, without the start token."""
    text: str
    margins: list[float] | None = None
    """The best minus the second-best logit of every step."""
    logits: dict[int, list[float]] | None = None
    log_probabilities: list[float] | None = Field(default=None, exclude_if=lambda value: value is None)
    """The natural logarithm of the probability of each token that was fed, where the item names them (``forced``)."""
    divergences: list[float] | None = Field(default=None, exclude_if=lambda value: value is None)
    """How far the distribution of each step is from the one that the item names: the Kullback-Leibler divergence in
    nats, where all tokens that the item does not name count as one. That makes it a lower bound."""
    ended: Ended | None = Field(default=None, exclude_if=lambda value: value is None)
    """Why a language model's generation ended; None where its tokens were fed."""


class Sample(_Schema):
    """Time one batch, once. ``total_ns`` spans a generation from prompt to text, or the call of a tensor workload."""

    record: Literal["sample"]
    workload: str
    items: list[str]
    phase: Phase
    repetition: int
    total_ns: int
    parts: dict[str, list[int]] = {}
    """Nanoseconds of the inner calls in their order, by the part that they call: ``encoder``, ``prefill`` or ``step``
    of a generation."""
    outputs: list[Output] = []
    """The generated outputs, one for each item; empty for a tensor workload."""
    output_sha256: str | None = None
    """SHA-256 over the bytes of all outputs of a tensor workload."""
    prompt_tokens: int | None = Field(default=None, exclude_if=lambda value: value is None)
    """The tokens of a language model's prompt."""

    def part_ns(self, name: str) -> int:
        """Return the sum of the nanoseconds of all calls of a part; 0 without any."""
        return sum(self.parts.get(name, ()))


class Probe(_Schema):
    record: Literal["probe"]
    workload: str
    items: list[str]
    outputs: list[Output] = []
    tensors: Tensors | None = None
    """The outputs of a tensor workload."""


class TapsRecord(_Schema):
    """Carry a piece of the stream of the item's kernel outputs, before its probe; see ``harness/explain/taps.py``."""

    record: Literal["taps"]
    workload: str
    items: list[str]
    part: int
    """Counts the pieces from 0."""
    tensors: Tensors
    """One tensor of bytes, ``taps``."""


ThermalState = Literal["nominal", "fair", "serious", "critical"]


class Thermal(_Schema):
    """Report the system's thermal state: after the header, whenever it changes, and before the end record.

    The runner writes it where the system reports the state to programs (iOS). Elsewhere the harness asks the device.
    """

    record: Literal["thermal"]
    state: ThermalState
    """The names of ``NSProcessInfo.thermalState``; ``serious`` and ``critical`` mean throttled clocks."""
    at_unix_ns: int


class Memory(_Schema):
    """Report the process's peak resident set, read after the timed passes and before the probe."""

    record: Literal["memory"]
    peak_bytes: int | None


class ProfileRecord(_Schema):
    """Carry the marks that a profiling archive's kernels recorded in the sample before; see ``profiling/marks.py``."""

    record: Literal["profile"]
    workload: str
    items: list[str]
    phase: Phase
    repetition: int
    numbers: list[int]
    """A kernel's number where it begins, its complement where it ends, and two numbers for bytes and FLOPs."""
    values: list[int]
    """Nanoseconds since the sample began; bytes; FLOPs."""


class Machine(_Schema):
    """Report the peak speed of one core of the device, measured by kernels of a profiling archive."""

    record: Literal["machine"]
    bandwidth: dict[int, float]
    """Bytes read a second, by working set in bytes."""
    flops: dict[str, float]
    """Operations a second for ``float32`` and for products with ``int8`` weights. A multiply-add counts as two."""


class Failure(_Schema):
    kind: str
    """``usage`` (the order), ``model`` (missing or failing), ``answer`` (the model ran, but its output for the item
    cannot be an answer), ``cpu`` (it lacks what kernels need), ``panic`` or ``io``."""
    message: str
    item: str | None = None


class End(_Schema):
    record: Literal["end"]
    order_id: str
    status: Literal["ok", "error"]
    samples: int
    error: Failure | None = None


AnyRecord = Header | Load | Sample | ProfileRecord | Probe | TapsRecord | Thermal | Memory | Machine | End
Record = Annotated[AnyRecord, Field(discriminator="record")]
RECORD: TypeAdapter[AnyRecord] = TypeAdapter(Record)


def parse_record(line: str | bytes) -> AnyRecord:
    """Return the record that one line of ``result.jsonl`` holds, also of version 1. Raises pydantic.ValidationError.

    Numbers must be finite numbers: no text, no true, no NaN. ``harness/devices/breaches.py`` checks their ranges.
    """
    try:
        return RECORD.validate_json(line, strict=True)
    except ValidationError:
        upgraded = v1.upgraded_line(line)
        if upgraded is None:
            raise
    return RECORD.validate_json(upgraded, strict=True)
