"""A small archive's provenance and the marks of its kernels, for tests that need neither a compiler nor a runner."""

from __future__ import annotations

from harness.compiler.observe.provenance import FunctionProvenance, Operator, Provenance, Site, Work
from harness.devices.base import AnyRecord
from harness.profiling.marks import BYTES, FLOPS
from harness.protocol.schema import Machine, Phase, ProfileRecord, Sample
from harness.results.schema.profile import ProfileLine

OPERATORS = [
    Operator(name="embedding", target="aten.embedding.default", module="embedding", kind="Embedding"),
    Operator(name="linear", target="aten.linear.default", module="layers.0.q", kind="Linear"),
    Operator(name="view", target="aten.view.default", module="layers.0", kind="Layer"),
    Operator(name="linear_1", target="aten.linear.default", module="layers.1.q", kind="Linear"),
    Operator(name="attend", target="harness.attend_memory.default", module="layers.1", kind="Layer"),
]
PROVENANCE = Provenance(
    functions=[
        FunctionProvenance(
            name="encoder",
            operators=OPERATORS[:3],
            sites=[
                Site(kernel="embedding", operators=[0], value=0, mark=0, work=Work(bytes=100)),
                Site(kernel="product", operators=[1, 2], mark=1, work=Work(bytes=4000, flops=2000)),
            ],
        ),
        FunctionProvenance(
            name="decoder_step",
            operators=OPERATORS,
            sites=[
                Site(
                    kernel="kernels",
                    operators=[],
                    mark=2,
                    parts=[
                        Site(kernel="product", operators=[3], mark=3, work=Work(bytes=1000, flops=500)),
                        Site(kernel="attend", operators=[4], mark=4),
                    ],
                )
            ],
        ),
    ]
)
STEPS = 2
ENCODER = ([0, ~0, 1, ~1], [10, 110, 150, 1150])
"""The embedding takes 100 ns, the product 1000."""


def step(begin: int, seen: int) -> tuple[list[int], list[int]]:
    """One step: a product of 300 ns, and attention of 50 to ``seen`` positions."""
    numbers = [2, 3, 4, BYTES, FLOPS, ~2]
    return numbers, [begin, begin + 5, begin + 305, 8 * seen, 4 * seen, begin + 355]


def sample(phase: Phase = Phase.TIMED, total: int = 3000, item: str = "w0") -> Sample:
    return Sample(
        record="sample",
        workload="g2p",
        items=[item],
        phase=phase,
        repetition=0,
        total_ns=total,
        parts={"encoder": [1300], "step": [400] * STEPS},
    )


def kernel_record(phase: Phase = Phase.TIMED, item: str = "w0") -> ProfileRecord:
    numbers, values = list(ENCODER[0]), list(ENCODER[1])
    for at in range(STEPS):
        more = step(1400 + 500 * at, at + 1)
        numbers += more[0]
        values += more[1]
    return ProfileRecord(
        record="profile", workload="g2p", items=[item], phase=phase, repetition=0, numbers=numbers, values=values
    )


MACHINE = Machine(record="machine", bandwidth={1024: 8e9, 1 << 20: 4e9}, flops={"float32": 2e9, "int8": 8e9})


def lines() -> list[ProfileLine]:
    """A warm-up that must not count, two timed samples of the instrumented archive, two of the plain one."""
    warm: list[AnyRecord] = [sample(Phase.WARMUP, 90_000), kernel_record(Phase.WARMUP)]
    records: list[AnyRecord] = [
        *warm,
        *(record for item in ("w0", "w1") for record in (sample(item=item), kernel_record(item=item))),
        MACHINE,
    ]
    marked = [ProfileLine.of("marked", True, record) for record in records]
    return marked + [ProfileLine.of("plain", False, sample(total=2500, item=item)) for item in ("w0", "w1")]
