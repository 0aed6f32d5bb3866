"""Choose the format of a product's weights, by precision, instruction set and number of rows."""

from __future__ import annotations

from harness.compiler.kernels.formats import FloatFormat, Format, IntegerFormat
from harness.compiler.kernels.groups import GROUP, GroupFormat, GroupRow
from harness.compiler.kernels.limbs import LimbFormat
from harness.compiler.kernels.matrices import MatrixFormat
from harness.compiler.targets.profiles import Profile
from harness.protocol.schema import Precision


def format_for(
    precision: Precision,
    profile: Profile,
    *,
    one_row: bool,
    wide: bool = False,
    shared: bool = False,
    group: int = GROUP,
) -> Format:
    """Return the format of a product.

    One row's activations keep 15 bits, because reading the weights takes all its time; with ``wide`` those of many rows
    do, too. ``shared`` gives one row the panels of many, whose weights it then shares where the instruction set
    multiplies both alike. int4 always does, and its many rows never keep 15 bits; ``group`` inputs have one scale.
    """
    if precision == "int4":
        return _int4(profile, one_row, group)
    form = _format(
        precision, profile, one_row, wide, profile.vector_columns if one_row and not shared else profile.columns
    )
    form.prefetches = not one_row and not form.quantises
    return form


def _format(precision: Precision, profile: Profile, one_row: bool, wide: bool, columns: int) -> Format:
    if precision == "fp32":
        return FloatFormat("float32", profile, columns)
    if precision == "fp16":
        if profile.half == "sdot":
            return LimbFormat(profile, columns)
        if profile.half == "smmla":
            # One row's loads take more time than its products: wide panels need fewer other instructions.
            return MatrixFormat(profile, profile.columns if one_row else 2 * profile.lanes, 2, profile.half_rows)
        return FloatFormat("float16", profile, columns)
    kind = profile.integer if one_row or wide else profile.integer_rows
    if kind == "smmla" and one_row:
        return MatrixFormat(profile, columns, 1, 1)
    if kind == "smmla" and wide:
        return MatrixFormat(profile, 2 * profile.lanes, 1, profile.half_rows)
    limbs = 2 if (one_row or wide) and kind in ("vnni", "sdot") else 1
    return IntegerFormat(kind, profile, columns, limbs)


def _int4(profile: Profile, one_row: bool, group: int) -> Format:
    if not one_row:
        return GroupFormat(profile.integer_rows, profile, group)
    return GroupRow(profile.integer, profile, group)
