"""The one schema that Python and the Rust runner share: a work order in, result records out.

``order.json`` holds a :class:`WorkOrder`; ``result.jsonl`` holds one :class:`Record` a line, flushed as
written: a header, the loads, a sample per repetition and batch, a probe per batch, the peak memory, and an
end record. A result without the end record of the same order is incomplete, whatever the exit status said.
All times are monotonic nanoseconds measured in the runner. ``docs/protocol.md`` explains every field.
"""

from __future__ import annotations

from enum import Enum
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

SCHEMA_VERSION = 1


Precision = Literal["fp32", "fp16", "int8"]
"""float32; float16 weights multiplied in float32; int8 weights and activations."""
PRECISIONS: tuple[Precision, ...] = ("fp32", "fp16", "int8")


class _Schema(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Phase(str, Enum):
    """What a sample is good for."""

    FIRST = "first"
    """The first inference of the process: caches cold, pages untouched."""
    WARMUP = "warmup"
    TIMED = "timed"


class OrderModel(_Schema):
    """A model of the archive, with what its metadata says about it (see ``docs/metadata.md``)."""

    name: str
    kind: Literal["g2p"] = "g2p"
    prefixes: dict[str, str]
    """Function (encoder, decoder | decoder_prefill, decoder_step) to its system-lib prefix."""
    use_kv_cache: bool
    batch_size: int = Field(ge=1)
    max_input_bytes: int = Field(ge=1)
    max_output_len: int = Field(ge=1)
    vocab_size: int = Field(ge=1)
    decoder_start_token_id: int = 0
    eos_token_id: int = 1
    self_cache_shape: list[int] | None = None
    """The batch first, the rest is the compiled model's own affair; None without a cache."""
    self_cache_dtype: Literal["float32", "float16"] = "float32"
    precision: Precision = "fp32"
    prompt_space: bool = True


class WorkItem(_Schema):
    id: str
    model: str
    language: str
    word: str


class Tensors(_Schema):
    """Tensors by name inside an order or a record (see :mod:`harness.protocol.tensors`)."""

    size: int
    sha256: str
    """Of the bytes, so that what arrives changed is refused on either side."""
    data: str
    """The bytes, of the format safetensors, in base64."""


class TensorModel(_Schema):
    """A model of the archive that takes tensors and gives tensors, of which the runner knows nothing more."""

    name: str
    prefix: str
    inputs: list[str]
    """Names of the arguments, in their order."""
    outputs: list[str]
    """Names of the results, in their order."""


class TensorItem(_Schema):
    """One call of a model of tensors."""

    id: str
    model: str
    inputs: Tensors


class TapWindow(_Schema):
    """Of one item's probe: which calls of kernels give away their outputs, counted from 0 (see ``docs/explain.md``)."""

    item: str
    first: int = Field(ge=0)
    last: int = Field(ge=1)
    """The first call that does not."""


class RecordOptions(_Schema):
    """What the probe pass records besides token ids; it runs after the timed passes and is not timed."""

    margins: bool = False
    logit_steps: list[int] = []
    taps: TapWindow | None = Field(default=None, exclude_if=lambda value: value is None)
    """Of an archive with taps alone."""


class WorkOrder(_Schema):
    schema_version: Literal[1] = 1
    order_id: str
    archive_sha256: str
    models: list[OrderModel]
    items: list[WorkItem]
    tensor_models: list[TensorModel] = []
    tensor_items: list[TensorItem] = []
    """They run behind ``items``, each a call and a sample of its own."""
    warmup: int = Field(default=1, ge=0)
    repetitions: int = Field(default=1, ge=0)
    threads: int = Field(default=1, ge=1)
    probe: RecordOptions | None = None
    skip_samples: int = Field(default=0, ge=0)
    """Samples of the passes, in their order, that an earlier process of this order has already recorded."""
    skip_probes: int = Field(default=0, ge=0)
    """The same of the probes."""
    slowdown_percent: float = Field(default=0.0, ge=0, le=1000, exclude_if=lambda value: not value)
    """A test of the gate: the runner burns so much more time with each call, and says so in its header."""


class Cpu(_Schema):
    model: str
    cores: int
    features: list[str]


class Header(_Schema):
    record: Literal["header"]
    schema_version: Literal[1]
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
    """Above 0, the times are no measurement of the model."""


class Load(_Schema):
    """One function of a model taken from the system library and its VM initialised."""

    record: Literal["load"]
    model: str
    function: str
    load_ns: int


class Output(_Schema):
    token_ids: list[int]
    """Generated ids with the end token, without the start token."""
    text: str
    margins: list[float] | None = None
    """Best minus second-best logit of every step."""
    logits: dict[int, list[float]] | None = None


class Sample(_Schema):
    """One batch, once. ``total_ns`` spans tokenization to text; the parts are around the calls themselves."""

    record: Literal["sample"]
    model: str
    items: list[str]
    phase: Phase
    repetition: int
    total_ns: int
    encoder_ns: int
    prefill_ns: int | None
    step_ns: list[int]
    outputs: list[Output]
    output_sha256: str | None = None
    """Of a model of tensors, which has no ``outputs`` and no parts: over the bytes of all its outputs."""


class Probe(_Schema):
    record: Literal["probe"]
    model: str
    items: list[str]
    outputs: list[Output]
    tensors: Tensors | None = None
    """The outputs of a model of tensors."""


class TapsRecord(_Schema):
    """A piece of the stream that the item's kernels gave away, in front of its probe; ``harness/explain/taps.py``."""

    record: Literal["taps"]
    model: str
    items: list[str]
    part: int
    """Counts the pieces from 0."""
    tensors: Tensors
    """One tensor of bytes, ``taps``."""


ThermalState = Literal["nominal", "fair", "serious", "critical"]


class Thermal(_Schema):
    """How hot the system says the device is: behind the header, whenever it changes, and before the end record.

    Written where the system tells a program (iOS); elsewhere the harness asks the device itself.
    """

    record: Literal["thermal"]
    state: ThermalState
    """The words of ``NSProcessInfo.thermalState``; ``serious`` and ``critical`` mean throttled clocks."""
    at_unix_ns: int


class Memory(_Schema):
    """The process's peak resident set, read after the timed passes and before the probe."""

    record: Literal["memory"]
    peak_bytes: int | None


class ProfileRecord(_Schema):
    """What the kernels of an archive for profiles said during the sample before; see ``harness/profiling/marks.py``."""

    record: Literal["profile"]
    model: str
    items: list[str]
    phase: Phase
    repetition: int
    numbers: list[int]
    """A kernel's number where it begins, its complement where it ends, and two that tell bytes and FLOPs."""
    values: list[int]
    """Nanoseconds since the sample began; bytes; FLOPs."""


class Machine(_Schema):
    """What one core of the device can do at most, measured by kernels of an archive for profiles."""

    record: Literal["machine"]
    bandwidth: dict[int, float]
    """Bytes a second read, by working set in bytes."""
    flops: dict[str, float]
    """Operations a second, a multiply-add being two: of ``float32``, and of what ``int8`` weights meet."""


class Failure(_Schema):
    kind: str
    """``usage`` (the order), ``model`` (missing or failing), ``answer`` (the model ran, and what it said of the item
    cannot be one), ``cpu`` (lacks what kernels need), ``panic`` or ``io``."""
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
    """One line of ``result.jsonl`` as it arrives; raises pydantic.ValidationError.

    Numbers are numbers and finite: no text, no true, no NaN. ``harness/devices/breaches.py`` knows their ranges.
    """
    return RECORD.validate_json(line, strict=True)
