"""Models that come without a file of the user's own: exported programs, folders of transformers, names of libraries."""

from __future__ import annotations

import importlib
import io
import json
import pickle
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.error import URLError

import pytest
import torch
from torch import Tensor, nn
from torch.export import Dim
from transformers import (
    BertConfig,
    BertForSequenceClassification,
    T5Config,
    T5ForConditionalGeneration,
    ViTConfig,
    ViTForImageClassification,
)

from harness.core.cache import Cache
from harness.models.tensor.described import describe_models
from harness.models.tensor.flat import flattened
from harness.models.tensor.loading import checked_items, dimensions
from harness.models.tensor.readers import exported, pretrained, vision
from harness.models.tensor.sources import BadModel, ModelSource, UnknownModel, resolve_model
from harness.models.tensor.spec import ModelSpec
from harness.validate.comparison import Tolerances

pytestmark = pytest.mark.programs

SMALL = {"hidden_size": 24, "num_hidden_layers": 1, "num_attention_heads": 3, "intermediate_size": 32}


class Pair(nn.Module):
    """Take two inputs, one by position and one by name."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(4, 3)

    def forward(self, x: Tensor, *, shift: Tensor) -> dict[str, Tensor]:
        return {"sum": self.layer(x) + shift, "rows": x.sum(1)}


@pytest.fixture
def program(tmp_path: Path) -> Path:
    """A program with a dynamic number of rows, from 1 to 16."""
    torch.manual_seed(0)
    shapes = {"x": {0: Dim("rows", min=1, max=16)}, "shift": None}
    exported_program = torch.export.export(
        Pair().eval(), (torch.ones(2, 4),), {"shift": torch.ones(3)}, dynamic_shapes=shapes
    )
    path = tmp_path / "my pair.v2.pt2"
    torch.export.save(exported_program, path)
    return path


def answered(spec: ModelSpec) -> dict[str, dict[str, Tensor]]:
    module = flattened(spec)
    with torch.inference_mode():
        return {
            item: dict(module.answer(tuple(inputs.values()))) for item, inputs in checked_items(spec, Path()).items()
        }


class Rounded(nn.Module):
    """Hand on steps of a tensor, as torch's quantization tools write it."""

    def forward(self, x: Tensor) -> Tensor:
        numbers = (0.1, 3, 0, 255, torch.uint8)
        steps = torch.ops.quantized_decomposed.quantize_per_tensor(x, *numbers)
        found: Tensor = torch.ops.quantized_decomposed.dequantize_per_tensor(steps, *numbers)
        return found


def test_a_program_that_was_quantized_may_differ_by_a_step(tmp_path: Path, program: Path) -> None:
    importlib.import_module(exported.QUANTIZED_OPERATORS)
    path = tmp_path / "rounded.pt2"
    torch.export.save(torch.export.export(Rounded(), (torch.ones(2, 4),)), path)
    assert exported.spec(str(path)).compare == exported.QUANTIZED
    assert exported.spec(str(program)).compare == Tolerances()


def test_an_exported_program_brings_its_inputs_and_its_dynamic_sizes(program: Path) -> None:
    spec = exported.spec(str(program))
    assert spec.name == "my_pair_v2"
    assert [*spec.example_inputs] == ["x", "shift"]
    [(axis, rows)] = dimensions(spec, "x").items()
    assert (axis, rows.min, rows.max) == (0, 1, 16)
    torch.manual_seed(0)
    original = Pair().eval()
    found = answered(spec)
    assert [*found] == ["example", "noise"]
    for item, inputs in checked_items(spec, Path()).items():
        for name, wanted in original(inputs["x"], shift=inputs["shift"]).items():
            torch.testing.assert_close(found[item][name], wanted)


class Bomb:
    """Create a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Callable[..., object], tuple[object, ...]]:
        return open, (str(self.path), "w")


Change = Callable[[dict[str, bytes], str], None]


def pickled_weight(members: dict[str, bytes], mark: str) -> None:
    config = json.loads(members["data/weights/model_weights_config.json"])
    weight = config["config"]["layer.weight"]
    weight["use_pickle"] = True
    members["data/weights/model_weights_config.json"] = json.dumps(config).encode()
    members["data/weights/" + weight["path_name"]] = torch_pickle(mark)


def pickled_inputs(members: dict[str, bytes], mark: str) -> None:
    members["data/sample_inputs/model.pt"] = torch_pickle(mark)


def code_as_a_size(members: dict[str, bytes], mark: str) -> None:
    def change(node: Any) -> None:
        for one in node.values() if isinstance(node, dict) else node if isinstance(node, list) else ():
            if isinstance(one, dict) and "expr_str" in one:
                one["expr_str"] = f"open({mark!r}, 'w') and 1"
            change(one)

    graph = json.loads(members["models/model.json"])
    change(graph)
    members["models/model.json"] = json.dumps(graph).encode()


def torch_pickle(mark: str) -> bytes:
    stream = io.BytesIO()
    torch.save((Bomb(Path(mark)),), stream, pickle_module=pickle)
    return stream.getvalue()


def rewritten(path: Path, change: Change, mark: Path) -> Path:
    with zipfile.ZipFile(path) as archive:
        top = archive.namelist()[0].partition("/")[0]
        members = {name.partition("/")[2]: archive.read(name) for name in archive.namelist()}
    change(members, str(mark))
    changed = path.with_name(f"{change.__name__}.pt2")
    with zipfile.ZipFile(changed, "w") as archive:
        for name, data in members.items():
            archive.writestr(f"{top}/{name}", data)
    return changed


def test_files_that_would_run_code_are_refused(program: Path, tmp_path: Path) -> None:
    files, marks = [], []
    for change, reason in (
        (pickled_weight, r"holds layer\.weight as a pickle"),
        (pickled_inputs, "example inputs that are more than tensors"),
        (code_as_a_size, "which is not arithmetic"),
    ):
        marks.append(tmp_path / f"{change.__name__} ran")
        files.append(rewritten(program, change, marks[-1]))
        with pytest.raises(BadModel, match=reason):
            exported.spec(str(files[-1]))
        assert not marks[-1].exists()
    # The danger is real: torch.export.load runs what is in them.
    load = (
        "import contextlib, sys, torch\n"
        "for file in sys.argv[1:]:\n"
        "    with contextlib.suppress(Exception):\n"
        "        torch.export.load(file)\n"
    )
    subprocess.run([sys.executable, "-c", load, *map(str, files)], check=True, capture_output=True, timeout=300)
    assert all(mark.exists() for mark in marks)


def test_a_pickle_is_read_if_asked_for(program: Path, tmp_path: Path) -> None:
    def pickled(members: dict[str, bytes], _mark: str) -> None:
        config = json.loads(members["data/weights/model_weights_config.json"])
        for weight in config["config"].values():
            place = "data/weights/" + weight["path_name"]
            whole = torch.frombuffer(bytearray(members[place]), dtype=torch.float32)
            stream = io.BytesIO()
            sizes = [one["as_int"] for one in weight["tensor_meta"]["sizes"]]
            torch.save(nn.Parameter(whole.reshape(sizes)), stream)
            members[place], weight["use_pickle"] = stream.getvalue(), True
        members["data/weights/model_weights_config.json"] = json.dumps(config).encode()

    path = rewritten(program, pickled, tmp_path)
    refused = resolve_model(str(path))
    with pytest.raises(BadModel, match="as a pickle") as error:
        exported.spec(refused.argument)
    assert "--allow-pickle" in error.value.cure
    allowed = resolve_model(str(path), allow_pickle=True)
    assert allowed.argument != refused.argument
    original, read = answered(exported.spec(str(program))), answered(exported.spec(allowed.argument))
    for item, outputs in original.items():
        for name, wanted in outputs.items():
            torch.testing.assert_close(read[item][name], wanted)


@pytest.mark.parametrize("target", ["torch.os.system", "torch.ops.aten.__class__", "_operator.__class__", "os.system"])
def test_a_function_that_is_no_operator_is_refused(program: Path, tmp_path: Path, target: str) -> None:
    def change(members: dict[str, bytes], _mark: str) -> None:
        graph = json.loads(members["models/model.json"])
        graph["graph_module"]["graph"]["nodes"][0]["target"] = target
        members["models/model.json"] = json.dumps(graph).encode()

    with pytest.raises(BadModel, match=f"calls {target}, which is not an operator of torch"):
        exported.spec(str(rewritten(program, change, tmp_path)))


@pytest.mark.parametrize(
    "size",
    [
        "exec(chr(105))",
        "s0.__class__",
        "[s0][0]",
        "(lambda: s0)()",
        "Symbol('__import__')",
        "sympify(s0)",
        "s0 if 1 else 2",
        "f(s0)(1)",
    ],
)
def test_a_size_is_arithmetic_only(size: str) -> None:
    assert not exported._is_arithmetic(size)


@pytest.mark.parametrize(
    "size", ["s77", "2*s0 + 1", "Max(1, s0//2)", "Symbol('s31', positive=True, integer=True)", "u0 < 9"]
)
def test_sizes_that_torch_writes_are_arithmetic(size: str) -> None:
    assert exported._is_arithmetic(size)


def test_files_that_are_no_exported_program(program: Path, tmp_path: Path) -> None:
    def library(members: dict[str, bytes], _mark: str) -> None:
        members["data/aotinductor/model/model.so"] = b"\x7fELF"

    def truncated(members: dict[str, bytes], _mark: str) -> None:
        members["models/model.json"] = members["models/model.json"][:100]

    with pytest.raises(BadModel, match=r"contains data/aotinductor/model/model\.so"):
        exported.spec(str(rewritten(program, library, tmp_path)))
    with pytest.raises(BadModel, match="is no exported program"):
        exported.spec(str(rewritten(program, truncated, tmp_path)))
    text = tmp_path / "text.pt2"
    text.write_text("hello")
    with pytest.raises(BadModel, match="is no exported program"):
        exported.spec(str(text))


def test_a_folder_of_transformers_is_described_from_its_configuration(tmp_path: Path, cache: Cache) -> None:
    torch.manual_seed(0)
    bert = BertForSequenceClassification(BertConfig(vocab_size=50, **SMALL)).eval()
    bert.save_pretrained(tmp_path / "tiny bert")
    vit = ViTForImageClassification(ViTConfig(image_size=16, patch_size=8, **SMALL)).eval()
    vit.save_pretrained(tmp_path / "vit")
    sources = [resolve_model(str(tmp_path / name)) for name in ("tiny bert", "vit")]
    text, picture = describe_models(sources, cache=cache, progress=quiet)
    assert (text.name, text.facts.inputs[0].shape) == ("tiny_bert", [1, "tokens"])
    assert (picture.name, picture.facts.inputs[0].shape) == ("vit", [1, 3, 16, 16])
    for model, original in ((text, bert), (picture, vit)):
        for item, inputs in model.inputs().items():
            given = {name: torch.from_numpy(array.copy()) for name, array in inputs.items()}
            with torch.inference_mode():
                wanted = original(**given).logits
            torch.testing.assert_close(torch.from_numpy(model.expected()[item]["logits"].copy()), wanted)


def test_folders_that_cannot_be_used(tmp_path: Path) -> None:
    BertForSequenceClassification(BertConfig(vocab_size=50, **SMALL)).save_pretrained(tmp_path / "bert")
    (tmp_path / "bert/model.safetensors").unlink()
    torch.save({"weight": Bomb(tmp_path / "ran")}, tmp_path / "bert/pytorch_model.bin")
    with pytest.raises(BadModel, match=r"read from \*\.safetensors only"):
        pretrained.spec(str(tmp_path / "bert")).build()
    assert not (tmp_path / "ran").exists()
    config = json.loads((tmp_path / "bert/config.json").read_text())
    for change, reason in (
        ({"architectures": ["os.system"]}, "which transformers does not have"),
        ({"architectures": ["AutoTokenizer"]}, "which transformers does not have"),
        ({"architectures": None}, "of no architecture"),
        ({"max_position_embeddings": 2}, "takes 2 tokens at most"),
        ({"model_type": "mine", "auto_map": {"AutoConfig": "mine.Mine"}}, "configuration of bert cannot be used"),
    ):
        (tmp_path / "bert/config.json").write_text(json.dumps(config | change))
        with pytest.raises(BadModel, match=reason):
            pretrained.spec(str(tmp_path / "bert"))
    sizes = {"d_model": 16, "num_layers": 1, "num_heads": 1, "d_kv": 16, "d_ff": 16, "vocab_size": 50}
    T5ForConditionalGeneration(T5Config(**sizes)).save_pretrained(tmp_path / "t5")
    with pytest.raises(BadModel, match="an encoder with a decoder"):
        pretrained.spec(str(tmp_path / "t5"))


def test_models_of_libraries_are_taken_by_name() -> None:
    import timm
    import torchvision

    for spec, original in (
        (vision.torchvision_spec("squeezenet1_1:random"), torchvision.models.squeezenet1_1),
        (vision.timm_spec("test_resnet:random"), lambda: timm.create_model("test_resnet")),
    ):
        torch.manual_seed(0)
        wanted = original().eval()
        module = flattened(spec)
        picture = spec.example_inputs["x"]
        with torch.inference_mode():
            torch.testing.assert_close(module(picture), wanted(picture))
    assert spec.name == "test_resnet"
    assert [*checked_items(spec, Path())] == ["noise", "slope"]


def test_weights_that_cannot_be_downloaded_name_the_way_without(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **options: object) -> object:
        assert options["weights_only"] is True
        raise URLError("no route")

    monkeypatch.setattr(torch.hub, "load_state_dict_from_url", refuse)
    with pytest.raises(BadModel, match=r"no route.*\n.*torchvision:resnet18:random"):
        vision.torchvision_spec("resnet18").build()


@pytest.mark.parametrize(
    ("read", "name", "reason"),
    [
        (vision.torchvision_spec, "nothing", "torchvision has no model nothing"),
        (vision.torchvision_spec, "raft_small", "takes more than one picture"),
        (vision.torchvision_spec, "resnet18:mine", "the weights are not mine"),
        (vision.timm_spec, "nothing", "timm has no model nothing"),
    ],
)
def test_names_that_libraries_do_not_have(read: Callable[[str], ModelSpec], name: str, reason: str) -> None:
    with pytest.raises(BadModel, match=reason):
        read(name)


def test_a_library_that_is_not_installed_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(BadModel, match=r"timm is not installed"):
        vision.timm_spec("resnet18")


def test_what_a_name_stands_for(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder/config.json").write_text("{}")
    (tmp_path / "one.pt2").write_bytes(b"")

    def of(name: str) -> tuple[str, str, str]:
        found: ModelSource = resolve_model(name)
        return found.module.rpartition(".")[2], found.attribute, found.argument

    assert of("torchvision:resnet18") == ("vision", "torchvision_spec", "resnet18")
    assert of("timm:resnet18.a1_in1k:random") == ("vision", "timm_spec", "resnet18.a1_in1k:random")
    assert of("hf:someone/model") == ("pretrained", "hub_spec", "someone/model")
    assert of(str(tmp_path / "folder")) == ("pretrained", "spec", str(tmp_path / "folder"))
    assert of(str(tmp_path / "one.pt2")) == ("exported", "spec", str(tmp_path / "one.pt2"))
    with pytest.raises(UnknownModel, match="there is no file"):
        resolve_model(str(tmp_path / "other.pt2"))
    with pytest.raises(UnknownModel, match="no model 'torchvision'"):
        resolve_model("torchvision")


def quiet(_text: str) -> None:
    pass
