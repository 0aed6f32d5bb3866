"""A user's file and everything that can be wrong with one, told with the user's own line."""

from __future__ import annotations

import textwrap
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.export import Dim

from harness.models import ExactTokens, ModelSpec, Tolerances, TopK
from harness.models.tensor.flat import answered, compiled_function, flattened, weights_digest
from harness.models.tensor.loading import (
    calibration_inputs,
    check_comparison,
    checked_items,
    dependencies,
    dimensions,
    load_specs,
    spec_files,
)
from harness.models.tensor.sources import BadModel
from harness.models.tensor.worker import describe_one

pytestmark = pytest.mark.programs

Write = Callable[[str], Path]

SPEC = """
from torch import nn, zeros
from harness.models import ModelSpec
def spec(name):
    return ModelSpec(name=name, build=lambda: nn.Linear(2, 2), example_inputs={"input": zeros(1, 2)},
                     items={"a": {"input": zeros(1, 2)}})
"""


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def put(text: str) -> Path:
        path = tmp_path / "mine.py"
        path.write_text(textwrap.dedent(text))
        return path

    return put


def test_every_spec_of_a_file_is_found_once(write: Write) -> None:
    path = write(SPEC + 'ONE = spec("one")\nAGAIN = ONE\nTWO = spec("two")\n')
    assert [spec.name for spec in load_specs(path, "", "")] == ["one", "two"]


def test_what_a_model_is_made_of_is_known(write: Write, tmp_path: Path) -> None:
    (tmp_path / "beside_mine.py").write_text("SIZE = 2\n")
    (tmp_path / "weights.pt").write_bytes(b"w")
    path = write(SPEC + "import beside_mine\nM = spec('m')\n")
    [spec] = load_specs(path, "", "")
    named = spec_files(ModelSpec(**vars(spec) | {"files": ["weights.pt"]}), path)
    assert dependencies(path, "", named) == [str(path), str(tmp_path / "beside_mine.py"), str(tmp_path / "weights.pt")]
    with pytest.raises(BadModel, match=r"gone\.pt, which is not there"):
        spec_files(ModelSpec(**vars(spec) | {"files": ["gone.pt"]}), path)


def test_of_an_installed_package_all_that_was_imported_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    site = tmp_path / "site-packages"
    (site / "own_package/models").mkdir(parents=True)
    (site / "unrelated.py").write_text("")
    for file, text in {
        "own_package/__init__.py": "import unrelated\n",
        "own_package/layers.py": "SIZE = 2\n",
        "own_package/unused.py": "",
        "own_package/models/__init__.py": "",
        "own_package/models/flowers.py": "from own_package import layers\n" + SPEC + "MODEL = spec('flowers')\n",
    }.items():
        (site / file).write_text(text)
    monkeypatch.syspath_prepend(str(site))
    path = site / "own_package/models/flowers.py"
    module = "own_package.models.flowers"
    assert [spec.name for spec in load_specs(path, module, "MODEL")] == ["flowers"]
    beside = ("own_package/__init__.py", "own_package/layers.py", "own_package/models/__init__.py")
    assert dependencies(path, module, []) == [str(path), *(str(site / file) for file in beside)]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("import harness\n", "has no ModelSpec in it"),
        ("x = 1\ny = 1 / 0\n", r"running mine.py failed at mine.py:2: ZeroDivisionError"),
        ("def f(:\n", "failed at line 1: SyntaxError"),
        ("import not_there_at_all\n", "ModuleNotFoundError"),
        ("import sys\nsys.exit(3)\n", "running mine.py failed at mine.py:2: SystemExit: 3"),
    ],
)
def test_a_file_that_cannot_be_used(write: Write, text: str, message: str) -> None:
    with pytest.raises(BadModel, match=message):
        load_specs(write(text), "", "")


def zeros(*shape: int) -> dict[str, Tensor]:
    return {"x": torch.zeros(shape)}


GOOD = ModelSpec(
    name="m",
    build=lambda: nn.Identity(),
    example_inputs=zeros(2, 3),
    items={"a": zeros(2, 3)},
    dynamic_shapes={"x": {0: Dim("n", min=2, max=8)}},
)


def changed(**changes: object) -> ModelSpec:
    return ModelSpec(**vars(GOOD) | changes)


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        (changed(name="1st"), "the name '1st'"),
        (changed(name="m" * 65), "is not 1 to 64 letters"),
        (changed(keep_wide="layers.0"), "keep_wide of 'm' is no list of patterns"),
        (changed(keep_wide=[0]), "keep_wide of 'm' is no list of patterns"),
        (changed(observer="most"), "the observer 'most' of 'm' is not known\n  → use min-max, percentile, mse"),
        (changed(name="g2p"), "a model cannot be named 'g2p'"),
        (changed(name="cache"), "a model cannot be named 'cache'"),
        (changed(prefix="m"), "the prefix 'm' of 'm' cannot begin a C symbol and end in _"),
        (changed(example_inputs={}), "has 0 inputs"),
        (changed(example_inputs={"x": [1.0]}), "is a list, not a torch.Tensor"),
        (changed(example_inputs={"x": torch.zeros(1, dtype=torch.bfloat16)}), "is bfloat16"),
        (changed(dynamic_shapes={"y": {}}), "name y, which is not an input"),
        (changed(dynamic_shapes=({0: Dim("n")},)), "dynamic_shapes of 'm': a tuple, not a dictionary"),
        (changed(dynamic_shapes={"x": 1}), "dynamic_shapes of 'x' of 'm': a int, not a dictionary"),
        (changed(dynamic_shapes={"x": {2: Dim("n")}}), "of 'x' of 'm': axis 2 of an input with 2 axes"),
        (changed(dynamic_shapes={"x": {0: Dim.DYNAMIC}}), r"DimHint\(DYNAMIC\) at axis 0\n  → name it and its bounds"),
        (changed(build=nn.Identity()), r"build of 'm' is a Identity, not a function\n  → give build=lambda"),
        (changed(example_inputs=(torch.zeros(1),)), "example_inputs of 'm': a tuple, not a dictionary"),
        (changed(compare="exact"), "compare of 'm' is 'exact'; it can be"),
        (changed(items={}), "no items to run"),
        (changed(items=[zeros(2, 3)]), "items of 'm': a list, not a dictionary of inputs by the name of the item"),
        (changed(items={"a": torch.zeros(2, 3)}), "item 'a' of 'm': a Tensor, not a dictionary"),
        (changed(items={"a/b": zeros(2, 3)}), "the item 'a/b'"),
        (changed(items={"a" * 129: zeros(2, 3)}), "is not 1 to 128 letters"),
        (changed(items={"a": {"x": torch.zeros(2, 3, device="meta")}}), r"is on meta\n  → move it with \.cpu\(\)"),
        (changed(items={"a": {"y": torch.zeros(2, 3)}}), "has the inputs y instead of x"),
        (
            changed(items={"a": {"x": torch.zeros(2, 3, dtype=torch.int64)}}),
            "is torch.int64, the example torch.float32",
        ),
        (changed(items={"a": zeros(9, 3)}), r"has the shape \[9, 3\], the model takes \[n from 2 to 8, 3\]"),
        (changed(items={"a": zeros(2, 4)}), r"the model takes \[n from 2 to 8, 3\]"),
        (changed(items=lambda: {"a": torch.zeros(1) @ torch.zeros(2)}), "making the items of 'm' failed at test_user"),
    ],
)
def test_a_spec_that_cannot_be(spec: ModelSpec, message: str) -> None:
    with pytest.raises(BadModel, match=message):
        checked_items(spec, Path(__file__))


def test_inputs_for_which_int8_is_rounded_are_the_items_or_their_own() -> None:
    items = checked_items(GOOD, Path(__file__))
    assert calibration_inputs(GOOD, Path(__file__), items) is items
    own = calibration_inputs(changed(calibration=lambda: {"any/name": zeros(4, 3)}), Path(__file__), items)
    assert [tuple(one["x"].shape) for one in own.values()] == [(4, 3)]
    with pytest.raises(BadModel, match="has no calibration to run"):
        calibration_inputs(changed(calibration={}), Path(__file__), items)
    with pytest.raises(BadModel, match=r"has the shape \[9, 3\]"):
        calibration_inputs(changed(calibration={"a": zeros(9, 3)}), Path(__file__), items)


def test_a_good_spec_gives_its_items_in_the_order_of_the_inputs() -> None:
    spec = changed(
        example_inputs={"x": torch.zeros(2, 3), "y": torch.zeros(1)},
        items=lambda: {"b": {"y": torch.ones(1), "x": torch.zeros(8, 3)}},
    )
    items = checked_items(spec, Path(__file__))
    assert list(items) == ["b"]
    assert list(items["b"]) == ["x", "y"]


def test_dimensions_can_be_written_as_torch_export_takes_them() -> None:
    n = Dim("n", min=2, max=8)
    forms: list[object] = [{0: n}, {0: n, 1: None}, (n, None), [n]]
    for form in forms:
        spec = changed(dynamic_shapes={"x": form}, items={"a": zeros(5, 3)})
        assert dimensions(spec, "x") == {0: n}
        assert list(checked_items(spec, Path(__file__))) == ["a"]
        assert compiled_function(spec, flattened(spec)).dynamic_shapes == (({0: n},),)
    fixed = changed(dynamic_shapes={"x": None})
    assert compiled_function(fixed, flattened(fixed)).dynamic_shapes is None


@pytest.mark.parametrize(
    ("compare", "message"),
    [
        (TopK(output="gone"), "compared by its output 'gone'; it has scores, ids"),
        (TopK(k=4), r"compared by the 4 best of 'scores', whose shape is \[2, 3\]"),
        (TopK(k=2, output="ids"), r"compared by the 2 best of 'ids', whose shape is \[\]"),
        (TopK(k=3), None),
        (ExactTokens(), None),
        (ExactTokens(output="ids"), None),
        (Tolerances(), None),
    ],
)
def test_a_comparison_has_to_fit_the_outputs(compare: TopK | ExactTokens | Tolerances, message: str | None) -> None:
    outputs = {"scores": torch.zeros(2, 3), "ids": torch.tensor(4)}
    if message is None:
        check_comparison(changed(compare=compare), outputs)
        return
    with pytest.raises(BadModel, match=message):
        check_comparison(changed(compare=compare), outputs)


class Returns(nn.Module):
    def __init__(self, make: Callable[[Tensor], object]) -> None:
        super().__init__()
        self.make = make

    def forward(self, x: Tensor) -> object:
        return self.make(x)


@pytest.mark.parametrize(
    ("make", "names"),
    [
        (lambda x: x, ["output"]),
        (lambda x: (x, x + 1), ["output_0", "output_1"]),
        (lambda x: {"boxes": x, "scores": x + 1}, ["boxes", "scores"]),
        (lambda x: {"a": {"b": x}, "none": None}, ["a_b"]),
    ],
)
def test_outputs_are_named_by_what_is_returned(make: Callable[[Tensor], object], names: list[str]) -> None:
    module = flattened(changed(build=lambda: Returns(make)))
    assert list(answered(module, (torch.zeros(2, 3),), ())) == names
    given = tuple(f"mine_{at}" for at in range(len(names)))
    assert list(answered(module, (torch.zeros(2, 3),), given)) == list(given)
    with pytest.raises(BadModel, match="their names are one, two, three"):
        answered(module, (torch.zeros(2, 3),), ("one", "two", "three"))


def test_what_is_no_tensor_or_no_module_is_told() -> None:
    with pytest.raises(BadModel, match="returns int where a tensor is needed"):
        answered(flattened(changed(build=lambda: Returns(lambda x: (x, 3)))), (torch.zeros(2, 3),), ())
    with pytest.raises(BadModel, match="gives a int, not a"):
        flattened(changed(build=lambda: 3))


@pytest.mark.parametrize("make", [lambda x: x + torch.rand(2, 3), lambda x: nn.functional.dropout(x + 1, 0.5)])
def test_answers_that_differ_each_time_are_told(make: Callable[[Tensor], Tensor], tmp_path: Path) -> None:
    torch.manual_seed(0)
    spec = changed(build=lambda: Returns(make))
    with pytest.raises(BadModel, match="'m' gives another output for item 'a' each time"):
        describe_one(spec, Path(__file__), tmp_path, lambda _text: None)


def test_answers_that_are_no_numbers_are_the_same_each_time(tmp_path: Path) -> None:
    spec = changed(build=lambda: Returns(lambda x: x / x))
    assert describe_one(spec, Path(__file__), tmp_path, lambda _text: None)["items"] == ["a"]


def test_weights_are_known_by_their_values_and_names() -> None:
    def module(seed: int) -> nn.Sequential:
        torch.manual_seed(seed)
        return nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2))

    one, same, other = (weights_digest(flattened(changed(build=lambda s=seed: module(s)))) for seed in (1, 1, 2))
    assert one == same != other
    renamed = nn.ModuleDict({"first": module(1)[0], "second": module(1)[1]})
    assert weights_digest(flattened(changed(build=lambda: renamed))) != one


def test_comparisons_refuse_what_cannot_be() -> None:
    with pytest.raises(ValueError, match="greater than or equal to 1"):
        TopK(k=0)
