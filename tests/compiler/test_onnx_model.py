"""A published model of ONNX, compiled: it is what PyTorch says, and what ONNX Runtime says."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnxruntime
import pytest

from harness.models.tensor.flat import flattened
from harness.models.tensor.readers.onnx import spec
from tests.compiler.compiled import answers, compiled
from tests.packaging.installs import from_cache
from tools.fetch_for_tests import PUBLISHED_ONNX

pytestmark = pytest.mark.compiler


def test_a_voice_activity_detector_says_what_onnx_runtime_says(tmp_path: Path) -> None:
    from_cache("pip", "install", "--quiet", "--no-deps", "--target", str(tmp_path), PUBLISHED_ONNX)
    file = tmp_path / "silero_vad/data/silero_vad.onnx"
    found = spec(f"{file}:input=1x576,state=2x1x128,sr=16000")
    module, inputs = flattened(found), tuple(found.example_inputs.values())
    ours = compiled(module, inputs)(*inputs)
    for mine, torchs in zip(ours, answers(module, *inputs), strict=True):
        np.testing.assert_allclose(mine, torchs, rtol=1e-4, atol=1e-5)
    session = onnxruntime.InferenceSession(str(file), providers=["CPUExecutionProvider"])
    given = {name: one.numpy() for name, one in found.example_inputs.items()} | {"sr": np.array(16000)}
    for mine, theirs in zip(ours, session.run(None, given), strict=True):
        np.testing.assert_allclose(mine, theirs, rtol=1e-3, atol=1e-4)
