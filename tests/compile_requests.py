"""Make requests to compile, as the commands make them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from harness.compiler import CompileRequest
from harness.models.g2p.checkpoints import Checkpoint
from harness.models.g2p.options import G2POptions
from harness.models.g2p.workload import DEFAULT_OPTIONS, g2p_compilable
from harness.models.tensor.described import UserModel
from harness.models.tensor.workload import TensorModel

SMALL: dict[str, Any] = {"max_input_bytes": 24, "max_output_len": 16}
"""The sizes of the small checkpoint's archive, which many tests share."""


def g2p_request(checkpoint: Checkpoint, *, kv_cache: bool = True, **given: Any) -> CompileRequest:
    """Return a request for a checkpoint; ``given`` are fields of G2POptions and of CompileRequest."""
    options = {name: value for name, value in given.items() if name in G2POptions.__dataclass_fields__}
    rest = {name: value for name, value in given.items() if name in CompileRequest.__dataclass_fields__}
    assert {*options, *rest} == {*given}
    return CompileRequest([g2p_compilable(checkpoint, replace(DEFAULT_OPTIONS, **options), kv_cache=kv_cache)], **rest)


def models_request(models: Sequence[UserModel], **given: Any) -> CompileRequest:
    """Return a request for described models."""
    return CompileRequest([TensorModel(model).compilable("") for model in models], **given)
