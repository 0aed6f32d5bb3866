"""Marks are read in the order of the archive's provenance, and nothing else is accepted."""

from __future__ import annotations

import pytest

from harness.compiler.observe.provenance import Provenance
from harness.profiling import BadMarks, calls
from harness.profiling.marks import BYTES
from harness.protocol.schema import ProfileRecord
from tests.profiling.profiles import PROVENANCE, STEPS, kernel_record


def test_calls_have_their_times_and_the_work_they_reported() -> None:
    found = list(calls(PROVENANCE, kernel_record()))
    assert [(call.function, call.invocation, call.index) for call in found] == [
        ("encoder", 0, 0),
        ("encoder", 0, 1),
        *(("decoder_step", at, part) for at in range(STEPS) for part in range(2)),
    ]
    assert [call.end - call.begin for call in found] == [100, 1000, *([300, 50] * STEPS)]
    assert [call.bytes for call in found] == [100, 4000, 1000, 8, 1000, 16]
    assert [call.flops for call in found] == [None, 2000, 500, 4, 500, 8]


@pytest.mark.parametrize(
    ("numbers", "wrong"),
    [
        ([1, ~1], "no function begins with the kernel of number 1"),
        ([0, ~0, 2, ~2], r"encoder called number 2 where product \(1\) belongs"),
        ([0, ~0], "encoder ended after 1 of 2 kernels"),
        ([0, ~0, 1], "product began and did not end"),
        ([2, 4, 3, ~2], "number 4 is no part 0 of kernels"),
        ([0, ~1], "number -2 is no part 0 of embedding"),
        ([BYTES], "work was reported outside a kernel"),
    ],
)
def test_marks_of_other_kernels_are_refused(numbers: list[int], wrong: str) -> None:
    record = kernel_record().model_copy(update={"numbers": numbers, "values": list(range(len(numbers)))})
    with pytest.raises(BadMarks, match=wrong):
        list(calls(PROVENANCE, record))


def test_an_archive_without_marks_has_no_calls() -> None:
    plain = Provenance.model_validate_json(PROVENANCE.model_dump_json().replace('"mark":', '"other":'))
    with pytest.raises(BadMarks):
        list(calls(plain, kernel_record()))
    empty = ProfileRecord.model_validate(kernel_record().model_dump() | {"numbers": [], "values": []})
    assert list(calls(plain, empty)) == []
