"""Files of ONNX: its own project's cases, a published model, what PyTorch exports, and what is refused."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor, nn

from harness.core.cache import Cache
from harness.models.tensor.flat import flattened
from harness.models.tensor.loading import checked_items
from harness.models.tensor.readers.onnx import spec
from harness.models.tensor.readers.onnx.call import OPERATORS
from harness.models.tensor.sources import BadModel, UnknownModel, resolve_model
from tests.models.onnx_cases import run_all
from tests.packaging.installs import from_cache
from tools.fetch_for_tests import PUBLISHED_ONNX

pytestmark = pytest.mark.programs

FLOAT, INT64 = TensorProto.FLOAT, TensorProto.INT64


def save(
    folder: Path,
    nodes: list[onnx.NodeProto],
    inputs: dict[str, tuple[int, list[int | str]]],
    constants: dict[str, Any] | None = None,
    axes: int = 2,
) -> Path:
    """Write a model with the output ``y`` of float32; inputs are given by name, with their type and axes."""
    graph = helper.make_graph(
        nodes,
        "graph",
        [helper.make_tensor_value_info(name, kind, shape) for name, (kind, shape) in inputs.items()],
        [helper.make_tensor_value_info("y", FLOAT, [f"y{at}" for at in range(axes)])],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in (constants or {}).items()],
    )
    path = folder / "model.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10), path)
    return path


@pytest.mark.thorough
def test_the_onnx_projects_own_cases_agree_or_are_refused() -> None:
    outcome = run_all()
    assert outcome.wrong == []
    assert sum(outcome.agreeing.values()) > 1400
    # The operators of models that are exported today, and those of older files.
    usual = {"Conv", "ConvTranspose", "Gemm", "MatMul", "LayerNormalization", "BatchNormalization", "Resize", "Slice"}
    usual |= {"LSTM", "Gather", "GatherND", "ScatterND", "TopK", "Einsum", "Pad", "Split", "Where", "Softmax"}
    usual |= {"QuantizeLinear", "DequantizeLinear", "MaxPool", "AveragePool", "Upsample", "Scatter", "Expand", "CumSum"}
    assert usual <= {*outcome.agreeing}
    # Its cases of a GRU have the reset gate before the product; PyTorch's own is held against ONNX Runtime below.
    assert {*OPERATORS} - {*outcome.agreeing} == {"GRU"}


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of models that a package of the registry contains: a voice activity detector."""
    folder = tmp_path_factory.mktemp("published")
    from_cache("pip", "install", "--quiet", "--no-deps", "--target", str(folder), PUBLISHED_ONNX)
    return folder / "silero_vad/data"


def test_a_published_model_is_read_and_holds_against_onnx_runtime(published: Path) -> None:
    """It branches on the sampling rate, and has a convolution that computes a spectrum, an LSTM and a state."""
    file = str(published / "silero_vad.onnx")
    with pytest.raises(BadModel, match="depends on the model's inputs") as refused:
        spec(file)
    assert "MODEL.onnx:rate=16000" in refused.value.cure
    found = spec(f"{file}:input=1x576,state=2x1x128,sr=16000")
    assert found.name == "silero_vad"
    assert {name: list(one.shape) for name, one in found.example_inputs.items()} == {
        "input": [1, 576],
        "state": [2, 1, 128],
    }
    answers = flattened(found).answer(tuple(found.example_inputs.values()))
    assert {name: list(one.shape) for name, one in answers.items()} == {"output": [1, 1], "stateN": [2, 1, 128]}


class Encoder(nn.Module):
    """Look up, attend and classify."""

    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Embedding(50, 16)
        self.layer = nn.TransformerEncoderLayer(16, 2, 32, batch_first=True, norm_first=True)
        self.head = nn.Linear(16, 5)

    def forward(self, ids: Tensor) -> Tensor:
        head: Tensor = self.head(self.layer(self.table(ids)).mean(1))
        return head


def save_as_exported(module: nn.Module, inputs: tuple[Tensor, ...], names: list[str], path: Path) -> None:
    """Write what PyTorch's older exporter writes, which needs no further package."""
    torch.onnx.export(module.eval(), inputs, str(path), dynamo=False, input_names=names, opset_version=17)


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning", "ignore::torch.jit.TracerWarning")
def test_what_pytorch_exports_comes_back(tmp_path: Path) -> None:
    torch.manual_seed(0)
    original = Encoder().eval()
    path = tmp_path / "my encoder.v1.onnx"
    save_as_exported(original, (torch.zeros(1, 9, dtype=torch.int64),), ["ids"], path)
    found = spec(str(path))
    assert found.name == "my_encoder_v1"
    assert [Path(one) for one in found.files] == [path]
    items = checked_items(found, path)
    assert [*items] == ["seed 1", "seed 2"]
    module = flattened(found)
    for inputs in items.values():
        assert 0 <= int(inputs["ids"].min()) < int(inputs["ids"].max()) < 50
        [ours] = module.answer(tuple(inputs.values())).values()
        torch.testing.assert_close(ours, original(inputs["ids"]), rtol=1e-4, atol=1e-5)


class Recurrent(nn.Module):
    """Run both directions of two kinds of layers."""

    def __init__(self, *, batch_first: bool) -> None:
        super().__init__()
        self.first = nn.GRU(6, 5, num_layers=2, bidirectional=True, batch_first=batch_first)
        self.second = nn.LSTM(10, 4, bidirectional=True, batch_first=batch_first)

    def forward(self, x: Tensor) -> Tensor:
        steps: Tensor = self.second(self.first(x)[0])[0]
        return steps


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning", "ignore::torch.jit.TracerWarning")
@pytest.mark.parametrize("batch_first", [False, True])
def test_recurrent_layers_come_back(tmp_path: Path, batch_first: bool) -> None:
    torch.manual_seed(0)
    original = Recurrent(batch_first=batch_first).eval()
    save_as_exported(original, (torch.zeros(3, 2, 6),), ["x"], tmp_path / "model.onnx")
    found = spec(str(tmp_path / "model.onnx"))
    [ours] = flattened(found).answer((found.example_inputs["x"],)).values()
    torch.testing.assert_close(ours, original(found.example_inputs["x"]), rtol=1e-4, atol=1e-5)


def test_sizes_values_and_bounds_are_given_with_the_name(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("Gather", ["table", "ids"], ["rows"]),
        helper.make_node("Mul", ["rows", "scale"], ["y"]),
    ]
    inputs: dict[str, tuple[int, list[int | str]]] = {"ids": (INT64, ["batch", "length"]), "scale": (FLOAT, [])}
    table = np.arange(40, dtype=np.float32).reshape(20, 2)
    path = save(tmp_path, nodes, inputs, {"table": table}, axes=3)
    assert [*spec(str(path)).example_inputs] == ["ids", "scale"]
    assert list(spec(str(path)).example_inputs["ids"].shape) == [1, 16]
    found = spec(f"{path}:ids=2x5%3,scale=0.5")
    assert [*found.example_inputs] == ["ids"]
    ids = found.example_inputs["ids"]
    assert (list(ids.shape), int(ids.max()) < 3) == ([2, 5], True)
    [answer] = flattened(found).answer((ids,)).values()
    np.testing.assert_array_equal(answer.numpy(), table[ids.numpy()] * 0.5)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("z=1x2", "no input 'z'"),
        ("x=1", "neither a size nor a value"),
        ("x=1xtwo", "neither a size nor a value"),
        ("x=1x0", "neither a size nor a value"),
        ("x=1x3%0", "neither a size nor a value"),
        ("x=1x3", "does not take x=1x3"),
    ],
)
def test_a_size_that_cannot_be(tmp_path: Path, given: str, message: str) -> None:
    nodes = [helper.make_node("MatMul", ["x", "w"], ["y"])]
    path = save(tmp_path, nodes, {"x": (FLOAT, ["n", "k"])}, {"w": np.ones((4, 2), np.float32)})
    with pytest.raises(BadModel, match=message) as refused:
        spec(f"{path}:{given}")
    assert refused.value.cure


def test_all_operators_that_are_not_read_are_named(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("Unique", ["x"], ["a"]),
        helper.make_node("Det", ["x"], ["b"]),
        helper.make_node("Add", ["a", "b"], ["y"]),
    ]
    path = save(tmp_path, nodes, {"x": (FLOAT, [3, 3])})
    with pytest.raises(BadModel, match="not read: Det, Unique"):
        spec(str(path))


def test_another_answer_than_onnx_runtimes_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = save(tmp_path, [helper.make_node("Relu", ["x"], ["y"])], {"x": (FLOAT, [4, 5])})
    spec(str(path))
    monkeypatch.setitem(OPERATORS, "Relu", lambda call: call.tensor(0).abs())
    with pytest.raises(BadModel, match="elements are other than ONNX Runtime's"):
        spec(str(path))
    monkeypatch.setitem(OPERATORS, "Relu", lambda call: call.tensor(0).double())
    with pytest.raises(BadModel, match=r"float64\[4, 5\] here and float32\[4, 5\] by ONNX Runtime"):
        spec(str(path))


def test_weights_beside_the_file_are_files_of_the_model_and_stay_beside_it(tmp_path: Path) -> None:
    nodes = [helper.make_node("MatMul", ["x", "w"], ["y"])]
    path = save(tmp_path, nodes, {"x": (FLOAT, [2, 40])}, {"w": np.ones((40, 40), np.float32)})
    model = onnx.load(path)
    onnx.save(model, path, save_as_external_data=True, location="weights.bin", size_threshold=0)
    assert [Path(one).name for one in spec(str(path)).files] == ["model.onnx", "weights.bin"]
    model = onnx.load(path, load_external_data=False)
    (tmp_path / "inside").mkdir()
    for entry in model.graph.initializer[0].external_data:
        if entry.key == "location":
            entry.value = "../weights.bin"
    (tmp_path / "inside/model.onnx").write_bytes(model.SerializeToString())
    with pytest.raises(BadModel, match="is no model of ONNX"):
        spec(str(tmp_path / "inside/model.onnx"))


def test_what_is_no_model(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    for content in (b"", b"\x08", b"not a model", json.dumps({}).encode()):
        path.write_bytes(content)
        with pytest.raises(BadModel, match=r"model\.onnx"):
            spec(str(path))


def test_without_its_packages_the_cure_is_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = save(tmp_path, [helper.make_node("Relu", ["x"], ["y"])], {"x": (FLOAT, [4, 5])})
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(BadModel, match="need a package") as refused:
        spec(str(path))
    assert refused.value.cure


def test_names_of_models(tmp_path: Path, cache: Cache) -> None:
    path = save(tmp_path, [helper.make_node("Relu", ["x"], ["y"])], {"x": (FLOAT, [4, 5])})
    source = resolve_model(f"{path}:x=2x5")
    assert (source.attribute, source.argument) == ("spec", f"{path}:x=2x5")
    assert resolve_model(str(path)).argument == str(path)
    with pytest.raises(UnknownModel, match="there is no file"):
        resolve_model(f"{tmp_path}/other.onnx:x=2x5")
