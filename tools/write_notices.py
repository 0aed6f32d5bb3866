"""Write THIRD_PARTY_NOTICES.md from requirements.lock and Cargo.lock: whose code is used where, under which licence.

python tools/write_notices.py            # writes the file
python tools/write_notices.py --check    # exit status 1 if the committed one is not of these lock files

It reads the metadata of the installed Python packages, which must be those of requirements.lock (`make setup`), and
asks cargo for that of the crates. Cargo downloads the crates that it does not have yet (`cargo fetch --locked`).
A check gives the same result on every system and Python: what is not installed at a locked version is not looked into.
"""

from __future__ import annotations

import argparse
import contextlib
import csv
import importlib
import importlib.metadata
import importlib.util
import json
import re
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

# Python 3.10 has no tomllib; there pytest brings tomli.
tomllib = importlib.import_module("tomllib" if sys.version_info >= (3, 11) else "tomli")
ROOT = Path(__file__).resolve().parent.parent
NOTICES = ROOT / "THIRD_PARTY_NOTICES.md"
APP_CRATE = "charsiug2p-g2p-pipeline"
MOBILE_CRATE = "charsiug2p-mobile"
LANGUAGE_CRATE, TOKENIZER = "charsiug2p-language", "tokenizer"
RUNNER_CRATE, RUNNER_LIBRARY = "device-runner-program", "device-runner"
LICENCE_FILE = re.compile(r"(licen[cs]e|copying|notice|copyright)", re.IGNORECASE)

HEAD = """# Third-party notices

The harness itself is licensed under Apache-2.0 ([LICENSE](LICENSE)). This page lists everything else, by the place
where it ends up. `python tools/write_notices.py` writes it from `requirements.lock`, `Cargo.lock` and the metadata that
the packages bring. A licence stands here as its package declares it; it is not legal advice.

## What ends in what you ship

### In an app or a runner

A statically linked program holds your model, compiled, and the following. Those that are offered under several
licences can be taken under Apache-2.0; the texts of the others are [below](#texts). UniFFI's crates are
under MPL-2.0: name that licence and where their source is, which is the registry that cargo takes them from. Also ship
[LICENSE](LICENSE) and [NOTICE](NOTICE).

| What | Version | Licence | Where the text is |
|---|---|---|---|
"""

SYSTEM_PARTS = """| Rust's standard library and what it is made of | the toolchain's | MIT OR Apache-2.0, others alike \
| `share/doc/rust/COPYRIGHT-library.html` of the toolchain |
| the C++ standard library of g++ (this machine) | the compiler's | GPL-3.0 WITH GCC-exception-3.1, \
which leaves your program free | `/usr/share/doc/libstdc++6` on Debian |
| libc++, compiler-rt and musl (zig, other machines) | ziglang's | Apache-2.0 WITH LLVM-exception; MIT | the package \
`ziglang` |
| libc++ (Android, through the NDK) | the NDK's | Apache-2.0 WITH LLVM-exception | `NOTICE` of the NDK |
"""

REPORT = """
### In an HTML report

Each page that `harness report` writes holds plotly.js, with its notice. Nothing else on the page is a third party's.

| What | Version | Licence | Where the text is |
|---|---|---|---|
"""

DATA = """
### In the package itself

The package holds no third party's code. The word lists in `harness/models/g2p/words` are excerpts of the lexicons of
the `gruut-lang-*` packages, and the embedded model was trained on these lexicons: MIT, Copyright (c) Michael Hansen
([text](#the-mit-license)). The text in `harness/models/language/byte_lm`, and the texts on which the model there was
trained, are in the public domain.

## Python packages

None of these is inside the harness's wheel. They are installed beside it, each by the extra that asks for it.
"""

IOS = """GPL-3.0 code is here: pymobiledevice3, which talks to iPhones, and several packages that it brings. Nothing of
this is installed unless you ask for the extra `ios`, and only `harness/devices/ios` and `harness/virtual/ios`
import it. If you distribute the harness together with it, the GPL's conditions hold for the whole.
"""

GROUPS: dict[str, tuple[str, str]] = {
    "": ("Always", "What `pip install` brings without any extra."),
    "compile": ("The extra `compile`", "Needed to compile models and to ask PyTorch for its answers."),
    "onnx": ("The extra `onnx`", "Models that are taken from files of ONNX."),
    "vision": ("The extra `vision`", "Image models that are taken by their names."),
    "ios": ("The extra `ios`", IOS),
    "training": ("The extra `training`", "The lexicons that the embedded model was trained on."),
    "dev": ("The extra `dev`", "Needed only to work on the harness, for example axe-core to check the report."),
    "lab": ("The extra `lab`", "Shares phones of many hosts."),
    "docs": ("The extra `docs`", "Needed only to build the site of the documentation."),
}
"""Title and introduction by extra, in the order in which a package is looked for."""


class Stale(Exception):
    """Other versions are installed than the lock file has."""


@dataclass(frozen=True)
class Part:
    """A third party's package; ``text`` is where its licence's text is."""

    name: str
    version: str
    licence: str
    text: str

    def row(self) -> str:
        cells = (self.name, self.version, self.licence, self.text)
        return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def locked_python(text: str) -> dict[str, list[str]]:
    """Return the versions of each package in a requirements.lock; several where they differ by environment."""
    found: dict[str, list[str]] = {}
    for line in text.splitlines():
        match = re.match(r"([A-Za-z0-9._-]+)(?:\[[^]]*\])?==([^\s;]+)", line)
        if match:
            versions = found.setdefault(canonicalize_name(match[1]), [])
            versions += [match[2]] if match[2] not in versions else []
    return found


def declared_licence(metadata: Any) -> str:
    """Return what a Python package declares: the expression, else the short field, else its classifiers."""
    expression, field = metadata.get("License-Expression"), metadata.get("License") or ""
    if expression:
        return str(expression)
    classified = [one.rpartition(" :: ")[2] for one in metadata.get_all("Classifier") or [] if "License ::" in one]
    # Some put the whole text into the field.
    short = " ".join(field.split())
    if short and short != "UNKNOWN" and len(short) < 60:
        return short
    title = field.strip().splitlines()[0].strip() if short else ""
    named = title if re.fullmatch(r".{3,40} licen[cs]e", title, re.IGNORECASE) else "see the text"
    return ", ".join(classified) or (named if short else "not declared")


def python_part(name: str, versions: Sequence[str]) -> Part | None:
    """Return the installed package; None if it is for other systems. Raises Stale if its version is not locked."""
    try:
        found = importlib.metadata.distribution(name)
    except importlib.metadata.PackageNotFoundError:
        return None
    if found.version not in versions:
        raise Stale(f"{name} {found.version} is installed, the lock file has {', '.join(versions)}")
    # Making paths of the tens of thousands of files that are installed would take seconds.
    record = found.read_text("RECORD")
    files = [one[0] for one in csv.reader(record.splitlines())] if record else [str(one) for one in found.files or []]
    inside = [one for one in files if ".dist-info/" in one or ".egg-info/" in one]
    texts = sorted(one.partition("-info/")[2] for one in inside if LICENCE_FILE.search(one.rpartition("/")[2]))
    more = f" and {len(texts) - 1} more" if len(texts) > 1 else ""
    text = f"`{texts[0]}`{more} of its metadata" if texts else "its project's page"
    return Part(name, ", ".join(versions), declared_licence(found.metadata), text)


def closure(requirements: Iterable[str]) -> set[str]:
    """Return the names of what these bring along in this environment, themselves included."""
    found: set[str] = set()
    waiting = [Requirement(one) for one in requirements]
    seen: set[tuple[str, frozenset[str]]] = set()
    while waiting:
        requirement = waiting.pop()
        name, extras = canonicalize_name(requirement.name), frozenset(requirement.extras)
        if (name, extras) in seen or (requirement.marker and not requirement.marker.evaluate()):
            continue
        seen.add((name, extras))
        found.add(name)
        try:
            brought = importlib.metadata.requires(name) or []
        except importlib.metadata.PackageNotFoundError as error:
            raise Stale(f"{name} is not installed") from error
        for one in map(Requirement, brought):
            if one.marker is None or any(one.marker.evaluate({"extra": extra}) for extra in ("", *extras)):
                one.marker = None
                waiting.append(one)
    return found


def python_groups(project: dict[str, Any], locked: dict[str, list[str]]) -> tuple[dict[str, list[Part]], list[Part]]:
    """Return the packages of each extra that no earlier one brings, and those not for this environment."""
    parts = {name: python_part(name, versions) for name, versions in locked.items()}
    asked = {"": project["dependencies"], **project["optional-dependencies"]}
    order = [*GROUPS, *(extra for extra in asked if extra not in GROUPS)]
    groups: dict[str, list[Part]] = {}
    taken: set[str] = set()
    for extra in order:
        own = project["name"]
        names = closure(one for one in asked.get(extra, []) if Requirement(one).name != own) - taken
        taken |= names
        groups[extra] = [part for name in sorted(names) if (part := parts.get(name)) is not None]
    elsewhere = [
        Part(name, ", ".join(versions), "", "") for name, versions in sorted(locked.items()) if name not in taken
    ]
    return groups, elsewhere


@dataclass(frozen=True)
class Crates:
    """The crates of Cargo.lock, each in the first of these that it belongs to."""

    app: list[Part]
    mobile: list[Part]
    tokenizers: list[Part]
    runner: list[Part]
    apple: list[Part]
    building: list[Part]
    texts: list[Path]
    """Licence texts of what is linked and cannot be had under Apache-2.0."""


def cargo_metadata() -> dict[str, Any]:
    # With what language models' tokenizers need, which is no default.
    command = ["cargo", "metadata", "--locked", "--format-version", "1", "--features", f"{MOBILE_CRATE}/{TOKENIZER}"]
    done = subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True, encoding="utf-8")
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def crates(metadata: dict[str, Any]) -> Crates:
    packages = {one["id"]: one for one in metadata["packages"]}
    nodes = {one["id"]: one for one in metadata["resolve"]["nodes"]}
    roots = {one["name"]: one["id"] for one in packages.values() if one["source"] is None}

    # Cargo lists the features that any crate of the workspace turns on. An app does not turn on this one.
    program = {one.removeprefix("dep:") for one in packages[roots[RUNNER_LIBRARY]]["features"]["program"]}

    def linked(
        root: str, wanted: Callable[[str | None], bool], without: Callable[[str, str], bool] = lambda _at, _to: False
    ) -> set[str]:
        """Return what is linked into a program of this crate.

        ``wanted`` takes a dependency's target, and ``without`` a crate and a dependency of it that is left out.
        """
        found, waiting = set[str](), [root]
        while waiting:
            at = waiting.pop()
            if at in found or any("proc-macro" in target["kind"] for target in packages[at]["targets"]):
                continue
            found.add(at)
            for dependency in nodes[at]["deps"]:
                kinds = dependency["dep_kinds"]
                if without(at, dependency["pkg"]):
                    continue
                if any(kind["kind"] is None and wanted(kind["target"]) for kind in kinds):
                    waiting.append(dependency["pkg"])
        return found

    def shipped(target: str | None) -> bool:
        return target is None or not ("windows" in target or "ios" in target)

    app = linked(roots[APP_CRATE], shipped)

    def of_the_program(at: str, to: str) -> bool:
        return at == roots[RUNNER_LIBRARY] and packages[to]["name"] in program

    of_texts = {one.removeprefix("dep:") for one in packages[roots[LANGUAGE_CRATE]]["features"][TOKENIZER]}

    def of_tokenizers(at: str, to: str) -> bool:
        return at == roots[LANGUAGE_CRATE] and packages[to]["name"] in of_texts

    def optional(at: str, to: str) -> bool:
        return of_the_program(at, to) or of_tokenizers(at, to)

    def apples(target: str | None) -> bool:
        return target is None or "windows" not in target

    mobile = linked(roots[MOBILE_CRATE], shipped, optional) - app
    runner = linked(roots[RUNNER_CRATE], shipped, of_tokenizers) - app - mobile
    apple = linked(roots[RUNNER_CRATE], apples, of_tokenizers) - app - mobile - runner
    tokenizers = linked(roots[MOBILE_CRATE], shipped, of_the_program) - app - mobile - runner - apple
    shipping = app | mobile | tokenizers | runner | apple
    rest = packages.keys() - shipping

    def listed(ids: Iterable[str]) -> list[Part]:
        return [crate_part(packages[one]) for one in sorted(ids) if packages[one]["source"] is not None]

    alone = [packages[one] for one in sorted(shipping) if packages[one]["source"] is not None]
    texts = [path for one in alone if "Apache-2.0" not in one["license"] for path in licence_files(one)]
    return Crates(listed(app), listed(mobile), listed(tokenizers), listed(runner), listed(apple), listed(rest), texts)


def licence_files(package: dict[str, Any]) -> list[Path]:
    folder = Path(package["manifest_path"]).parent
    return sorted(path for path in folder.iterdir() if path.is_file() and LICENCE_FILE.match(path.name))


def crate_part(package: dict[str, Any]) -> Part:
    files = licence_files(package)
    text = ", ".join(f"`{path.name}`" for path in files) + " of the crate" if files else "its project's page"
    return Part(package["name"], package["version"], package["license"] or "not declared", text)


def plotly_version() -> str:
    """Return the version of plotly.js inside of plotly's Python package, from its notice."""
    spec = importlib.util.find_spec("plotly")
    assert spec is not None, "plotly is a dependency of the harness"
    assert spec.submodule_search_locations is not None
    script = Path(spec.submodule_search_locations[0]) / "package_data/plotly.min.js"
    with script.open(encoding="utf-8") as file:
        notice = file.read(300)
    match = re.search(r"plotly\.js v(\S+)\n.*\n.*\n.*Licensed under the MIT license", notice)
    if match is None:
        raise Stale("plotly.js no longer begins with the notice that it is under the MIT license")
    return match[1]


def table(parts: Iterable[Part]) -> Iterator[str]:
    yield "| Package | Version | Licence | Where the text is |\n|---|---|---|---|"
    yield from (part.row() for part in parts)


def render() -> str:
    """Return the whole file; raises Stale if the environment is not the locked one."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    locked = locked_python((ROOT / "requirements.lock").read_text(encoding="utf-8"))
    groups, elsewhere = python_groups(project, locked)
    linked = crates(cargo_metadata())
    tvm, ffi = (", ".join(locked[name]) for name in ("apache-tvm", "apache-tvm-ffi"))
    licences = "`LICENSE` and `NOTICE` of the package"
    lines = [
        Part("Apache TVM's runtime", tvm, "Apache-2.0", f"{licences} `tvm`").row(),
        Part("TVM FFI", ffi, "Apache-2.0", f"{licences} `apache-tvm-ffi`").row(),
        Part("DLPack (a header inside of TVM FFI)", ffi, "Apache-2.0", f"{licences} `apache-tvm-ffi`").row(),
        SYSTEM_PARTS.rstrip("\n"),
        "\nRust crates that an app links with `charsiug2p-g2p-pipeline`:\n",
        *table(linked.app),
        "\nRust crates that an app links as well with `charsiug2p-mobile`:\n",
        *table(linked.mobile),
        "\nAnd with its feature `tokenizer`, which is for language models that have a tokenizer:\n",
        *table(linked.tokenizers),
        "\nRust crates that the harness's own runner links as well:\n",
        *table(linked.runner),
        "\nAnd on iOS:\n",
        *table(linked.apple),
        REPORT.rstrip("\n"),
        Part("plotly.js", plotly_version(), "MIT", "`licenses/LICENSE.txt` of the package `plotly`").row(),
        DATA.rstrip("\n"),
    ]
    for extra, parts in groups.items():
        title, introduction = GROUPS.get(extra, (f"The extra `{extra}`", ""))
        if parts:
            lines += [f"\n### {title}\n", introduction.rstrip("\n"), "", *table(parts)]
    lines += [
        "\n### For other systems or Python versions\n",
        "The lock file also names these for environments other than the one in which this page was written. Their",
        "licence is in their own metadata.\n",
        *(f"- {part.name} {part.version}" for part in elsewhere),
        "\n## Rust crates that are in no program\n",
        "They run while something is compiled, in tests, or on Windows, which is not a target.\n",
        *table(linked.building),
        "\n## Texts\n",
        "Of what is linked into programs or part of the package and not offered under Apache-2.0.",
        *(f"\n### {title}\n\n```\n{text}\n```" for title, text in texts(linked)),
    ]
    return HEAD + "\n".join(lines) + "\n"


def rows(page: str) -> dict[str, list[str]]:
    """Return the cells of the tables' rows in a part of the page, by the package's name."""
    found = [[cell.strip() for cell in line.strip("|").split(" | ")] for line in page.splitlines() if line[:2] == "| "]
    return {cells[0]: cells for cells in found}


def differences(page: str) -> Iterator[str]:
    """Return what on the page is not so, a line each."""
    locked = locked_python((ROOT / "requirements.lock").read_text(encoding="utf-8"))
    python = page.partition("## Python packages")[2].partition("## Rust crates that are in no program")[0]
    shown = rows(python)
    elsewhere = dict(re.findall(r"^- (\S+) (.*)$", python, re.MULTILINE))
    for name in sorted({*shown, *elsewhere} - {*locked, "Package", "---"}):
        yield f"{name} is not in requirements.lock"
    for name, versions in locked.items():
        if name not in shown and name not in elsewhere:
            yield f"{name} is missing"
        elif ", ".join(versions) != (shown[name][1] if name in shown else elsewhere[name]):
            yield f"{name} has other versions in requirements.lock"
        elif name in shown:
            with contextlib.suppress(Stale):
                part = python_part(name, versions)
                if part is not None and part.licence != shown[name][2]:
                    yield f"{name} declares {part.licence}"
    linked = crates(cargo_metadata())
    wanted = {
        part.row()
        for part in (*linked.app, *linked.mobile, *linked.tokenizers, *linked.runner, *linked.apple, *linked.building)
    }
    tables = page.partition("### In an HTML report")[0].partition("Rust crates that an app links")[2]
    tables += page.partition("## Rust crates that are in no program")[2].partition("## Texts")[0]
    present = {line for line in tables.splitlines() if line.startswith("| ") and not line.startswith("| Package |")}
    yield from (f"missing: {row}" for row in sorted(wanted - present))
    yield from (f"no longer so: {row}" for row in sorted(present - wanted))
    for title, text in texts(linked):
        if text not in page:
            yield f"the text of {title} is missing"


def texts(linked: Crates) -> Iterator[tuple[str, str]]:
    plotly = importlib.metadata.distribution("plotly").read_text("licenses/LICENSE.txt")
    assert plotly is not None, "plotly brings its licence"
    yield "The MIT License", plotly.strip()
    for path in linked.texts:
        yield f"{path.parent.name}, {path.name}", path.read_text(encoding="utf-8").strip()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="write nothing; exit status 1 if the file is out of date")
    arguments = parser.parse_args()
    if arguments.check:
        found = list(differences(NOTICES.read_text(encoding="utf-8") if NOTICES.is_file() else ""))
        if found:
            print("\n".join([*found, "  → python tools/write_notices.py"]), file=sys.stderr)
        return 1 if found else 0
    try:
        NOTICES.write_text(render(), encoding="utf-8")
    except Stale as error:
        sys.exit(f"write_notices: {error}\n  → run `make setup`")
    return 0


if __name__ == "__main__":
    sys.exit(main())
