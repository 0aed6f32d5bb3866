"""The pages that are made from the code: they name all that the code has, and their schemas take what it writes."""

from __future__ import annotations

import ast
import inspect
import json
import re
from pathlib import Path
from typing import Any

import pytest
import typer
from jsonschema import Draft202012Validator

from harness.cli.app import app, load_commands
from harness.core.errors import HarnessError
from harness.pytest_plugin import fixtures
from harness.pytest_plugin.options import option_names
from harness.results.every_table import TABLES
from tests.results.samples import make_run
from tools.docs_site import commands, environment, errors, files, plugin, python, rust, tables
from tools.docs_site.hooks import OUTSIDE, _lines
from tools.docs_site.text import link, plain, sentence

ROOT = Path(__file__).resolve().parents[2]


def every_command(command: Any, path: str = "harness") -> dict[str, Any]:
    found = {path: command}
    for name, one in getattr(command, "commands", {}).items():
        found |= every_command(one, f"{path} {name}") if not one.hidden else {}
    return found


@pytest.fixture(scope="module")
def command_pages() -> dict[str, str]:
    return commands.pages()


@pytest.fixture(scope="module")
def file_pages() -> dict[str, str]:
    return files.pages()


def test_every_command_option_and_example_is_on_its_page(command_pages: dict[str, str]) -> None:
    load_commands()
    found = every_command(typer.main.get_command(app))
    assert len(found) > 40
    for path, command in found.items():
        words = path.split()
        page = command_pages[f"{commands.FOLDER}/{words[1] if len(words) > 1 else 'index'}.md"]
        assert path == "harness" or re.search(rf"^#+ {path}$", page, re.MULTILINE), path
        options = [name for one in command.params for name in one.opts if name.startswith("-")]
        hidden = {name for one in command.params if getattr(one, "hidden", False) for name in one.opts}
        missing = [one for one in options if one not in hidden and one != "--help" and f"`{one}" not in page]
        assert path == "harness" or missing == [], path
        for line in str(command.epilog or "").split("\n\n"):
            assert " ".join(plain(line, "x.md").split()) in page or line.strip() in page or line.startswith("Example")


def test_options_fixtures_and_keys_of_pytest_are_on_the_page() -> None:
    page = plugin.pages()[plugin.PAGE]
    assert [name for name in option_names() if f"`{name}" not in page] == []
    named = [name for name in dir(fixtures) if name.startswith("harness_")]
    assert len(named) == 3
    for name in [*named, "replay_benchmark", "harness_models", "harness_testpaths", "harness_step(*names)"]:
        assert f"`{name}`" in page


def kinds_of(error: type[HarnessError]) -> set[type[HarnessError]]:
    return {error}.union(*(kinds_of(one) for one in error.__subclasses__()))


def test_every_class_of_errors_that_is_loaded_is_listed_with_its_cure_and_exit_code() -> None:
    listed = {(one.module, one.name): one for one in errors.errors()}
    assert len(listed) > 120
    loaded = [
        one for one in kinds_of(HarnessError) if one.__module__.startswith("harness.") and one is not HarnessError
    ]
    assert len(loaded) > 60
    for one in loaded:
        if inspect.cleandoc(one.__doc__ or "").startswith("Base of"):
            continue
        found = listed[one.__module__, one.__name__]
        assert found.exit_code == one.exit_code
        assert found.when, one
        # What belongs to this machine is not on the page, as an interpreter's path.
        assert found.cure == one.cure or "python" in found.cure
    assert {one.room for one in listed.values()} <= errors.ROOMS.keys()
    page = errors.pages()[errors.PAGE]
    assert all(page.count(f'id="{errors.anchor(one)}"') == 1 for one in listed.values())


def variables_in_sources() -> set[str]:
    python_names = {
        node.value
        for path in (ROOT / "harness").rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Constant)
        and isinstance(node.value, str)
        and re.fullmatch("HARNESS_[A-Z0-9_]+", node.value)
    }
    sources = [path for folder in ("rust", "device_runner") for path in (ROOT / folder).rglob("*.rs")]
    return python_names.union(
        *(re.findall(r'"(HARNESS_[A-Z0-9_]+)"', one.read_text(encoding="utf-8")) for one in sources)
    )


def test_every_variable_of_the_sources_is_listed_and_no_other() -> None:
    listed = {one.name for one in environment.HARNESS}
    assert variables_in_sources() == listed | environment.INTERNAL.keys()
    assert not listed & environment.INTERNAL.keys()
    for one in (*environment.HARNESS, *environment.OTHERS):
        assert not one.page or (ROOT / "docs" / one.page).is_file()
        assert not one.page or one.name.split(", ")[0] in (ROOT / "docs" / one.page).read_text(encoding="utf-8"), one


def test_every_table_and_column_is_listed() -> None:
    page = tables.pages()[tables.PAGE]
    for table in TABLES.values():
        part = page.split(f"\n## {table.name}\n")[1].split("\n## ")[0]
        assert all(f"| `{name}` | `{kind}` |" in part for name, kind in table.columns.items())


def test_schemas_are_schemas_and_take_what_a_run_writes(tmp_path: Path, file_pages: dict[str, str]) -> None:
    run = make_run(tmp_path)
    schemas = {path: json.loads(text) for path, text in file_pages.items() if path.endswith(".json")}
    assert len(schemas) > 40
    for schema in schemas.values():
        Draft202012Validator.check_schema(schema)
    seen = []
    for one in (format for page in files.PAGES for format in page.formats):
        validator = Draft202012Validator(schemas[one.schema_path])
        for path in sorted(run.folder.glob(one.file.replace("…", "*"))) if one.schema != "package-manifest" else []:
            text = path.read_text(encoding="utf-8")
            for document in text.splitlines() if one.lines else [text]:
                validator.validate(json.loads(document))
                seen.append(one.schema)
            assert list(validator.iter_errors({"unknown": 1})) != [], one.schema
    assert {"manifest", "summary", "samples", "reference", "parity", "work-order"} <= set(seen)


def test_every_class_of_a_format_has_its_keys_on_the_page(file_pages: dict[str, str]) -> None:
    for page in files.PAGES:
        for one in page.formats:
            for kind in one.kinds:
                keys = kind.model_json_schema(by_alias=True)["properties"]
                assert [key for key in keys if f"| `{key}` |" not in file_pages[page.path]] == [], (one.file, kind)


def test_python_pages_name_what_there_is() -> None:
    import importlib

    for page in python.PAGES:
        for name in page.names:
            module, _, own = name.rpartition(".")
            if not module.startswith("harness.compiler"):  # a pure test imports no TVM
                assert inspect.getdoc(getattr(importlib.import_module(module), own)), name
            else:
                path = ROOT.joinpath(*module.split(".")).with_suffix(".py")
                assert re.search(rf"^class {own}\b", path.read_text(encoding="utf-8"), re.MULTILINE), name
    public = re.findall(r"^\| `(\w+)` \|", (ROOT / "docs/fixtures.md").read_text(encoding="utf-8"), re.MULTILINE)
    types = {name for name in public if name[0].isupper()}
    assert types <= {name.rpartition(".")[2] for name in python.PAGES[0].names}
    assert types


def test_every_crate_of_the_workspace_is_listed() -> None:
    page = rust.pages()[rust.PAGE]
    members = re.findall(
        r'^    "((?:rust/|device_runner)[a-z0-9_/]*)",$',
        (ROOT / "Cargo.toml").read_text(encoding="utf-8"),
        re.MULTILINE,
    )
    assert len(members) == len(rust.crates()) == 11
    assert all(f"| `{folder}` |" in page for folder in members)


def test_documentation_of_crates_is_taken_once_cargo_wrote_all_of_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rust, "BUILT", tmp_path)
    assert rust.built() == {}
    assert "make docs-rust" in rust.pages()[rust.PAGE]
    for library in filter(None, (crate["target"] for crate in rust.crates())):
        folder = tmp_path / library
        folder.mkdir()
        (folder / "index.html").write_text("", encoding="utf-8")
    assert "reference/rust/device_runner/index.html" in rust.built()
    page = rust.pages()[rust.PAGE]
    assert "[`device-runner`](rust/device_runner/index.html)" in page
    assert "| `device-runner-program` |" in page


class _Files:
    """The files of a site, as far as links ask for them."""

    def __init__(self, *paths: str) -> None:
        self.paths = paths

    def get_file_from_path(self, path: str) -> object:
        return path if path in self.paths else None


@pytest.mark.parametrize(
    ("source", "line", "expected"),
    [
        ("lab.md", "[a](android.md#b)", "[a](android.md#b)"),
        ("contributing/device.md", "[a](../faults.md)", "[a](../faults.md)"),
        ("index.md", "[a](../CONTRIBUTING.md)", "[a](repository/CONTRIBUTING.md)"),
        ("lab.md", "[a](../README.md#x)", "[a](index.md#x)"),
        ("results.md", "[`harness/v1.py`](../harness/v1.py)", "`harness/v1.py`"),
        ("results.md", "[`operator.py`](../harness/operator.py)", "`operator.py`"),
        ("results.md", "[these readers](../harness/schema/)", "these readers (`harness/schema`)"),
        ("repository/CONTRIBUTING.md", "[a](docs/android.md) [b](SECURITY.md)", "[a](../android.md) [b](SECURITY.md)"),
        ("repository/SECURITY.md", "[a](LICENSE)", "a (`LICENSE`)"),
        ("lab.md", "[a](gone.md)", "[a](gone.md)"),
        (
            "lab.md",
            "[a](https://example.org/x.md) ![b](images/b.png)",
            "[a](https://example.org/x.md) ![b](images/b.png)",
        ),
        ("lab.md", "```python harness/a.py", '```python title="harness/a.py"'),
    ],
)
def test_links_lead_to_where_the_site_has_the_page(source: str, line: str, expected: str) -> None:
    site: Any = _Files("android.md", "faults.md", "index.md", *(f"repository/{name}" for name in OUTSIDE))
    assert list(_lines(line, source, site)) == [expected]


def test_blocks_of_code_stay_as_they_are() -> None:
    site: Any = _Files("index.md")
    text = "~~~\n[a](../README.md)\n```\n~~~\n[a](../README.md)"
    assert "\n".join(_lines(text, "x.md", site)) == "~~~\n[a](../README.md)\n```\n~~~\n[a](index.md)"


def test_help_texts_are_escaped_and_pages_in_them_are_links() -> None:
    assert plain("a_b <c> [d] ``e_f`` (docs/json.md)", "reference/commands/x.md") == (
        r"a\_b \<c\> \[d\] `e_f` ([json.md](../../json.md))"
    )
    assert sentence("the page", "x.md") == "The page."
    assert link("a/b.md", "a/c.md") == "b.md"


def test_a_description_has_its_default_as_a_sentence() -> None:
    assert commands._described("the page  [default: (report.html)]", "x.md") == "The page. Default: `report.html`."
    assert commands._described("the phone  [default: a; required]", "x.md") == "The phone. Default: `a`. Required."
    assert commands._described("alone", "x.md") == "Alone."
