"""Compile a small model and keep what it looks like after each stage, for docs/explanation/kernels.md.

python -m tools.kernel_stages       # writes the listings of the page, and those of its diagram
"""

from __future__ import annotations

import json
import re
import textwrap
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs/explanation/kernels.md"
LISTINGS = ROOT / "tools/diagrams/kernel_stages.json"
TARGET, CPU = "linux-arm64", "cortex-a76"
ROWS, WIDTH = 8, 64
SOURCE = "model = nn.Sequential(nn.LayerNorm(64), nn.Linear(64, 64), nn.GELU())"
_BLOCK = "<!-- {name}: python -m tools.kernel_stages -->\n```text\n{text}\n```\n<!-- end -->"


def stages() -> dict[str, str]:
    """Return the listings by their names: ``torch``, ``graph``, ``relax``, ``fused``, ``kernel`` and ``assembly``.

    The listings are excerpts: types and attributes that repeat are left out.
    """
    import torch
    import tvm
    from torch import nn

    from harness.compiler.importer.exporting import exported
    from harness.compiler.importer.importing import import_function
    from harness.compiler.lower import tvm_target
    from harness.compiler.operators.operator import OpTable
    from harness.compiler.passes.pipeline import Recipe, pipeline
    from harness.compiler.settings import LOOPS, PASS_CONFIG
    from harness.compiler.targets import resolve_target
    from harness.models.functions import ModelFunction

    torch.manual_seed(0)
    model = nn.Sequential(nn.LayerNorm(WIDTH), nn.Linear(WIDTH, WIDTH), nn.GELU()).eval()
    function = ModelFunction("main", model, (torch.zeros(ROWS, WIDTH),), None)
    program, ops, after = exported(function), OpTable(), dict[str, str]()
    module = import_function(function, ops, program)

    @tvm.instrument.pass_instrument
    class Snapshots:
        def run_after_pass(self, module: tvm.IRModule, info: tvm.ir.transform.PassInfo) -> None:
            if info.name in ("FusePatterns", "PackWeights"):
                after[info.name] = module.script()

    target = resolve_target(TARGET, CPU)
    recipe = Recipe(target.profile, "fp32", "example_", ops)
    with tvm.transform.PassContext(config=PASS_CONFIG, instruments=[Snapshots()]):
        executable = tvm.compile(
            module.with_attr("system_lib_prefix", recipe.prefix),
            tvm_target(target),
            relax_pipeline=pipeline(tvm_target(target), recipe),
            tir_pipeline=LOOPS,
        )
    return {
        "torch": SOURCE,
        "graph": graph_excerpt(str(program.graph)),
        "relax": relax_excerpt(module.script()),
        "fused": relax_excerpt(after["FusePatterns"]),
        "kernel": kernel_excerpt(after["PackWeights"]),
        "assembly": assembly_excerpt(executable.mod.imports[0].inspect_source("s")),
    }


def graph_excerpt(text: str) -> str:
    """Return the calls of an exported graph."""
    calls = re.findall(r"%(\w+) :.*target=torch\.ops\.([\w.]+)\]\(args = \((.*)\), kwargs", text)
    return "\n".join(f"%{name} = {target}({args})" for name, target, args in calls)


def relax_excerpt(text: str) -> str:
    """Return the assignments of a Relax function without their types, and constants by their numbers."""
    lines = [line.strip() for line in text.splitlines() if re.match(r"\s+lv\d*: ", line)]
    short = [re.sub(r"^(\w+): R\.Tensor\(.*?dtype=\"\w+\"\) = ", r"\1 = ", line) for line in lines]
    short = [re.sub(r'metadata\["ir\.GenericConst"\]\[(\d+)\]', r"const\1", line) for line in short]
    short = [re.sub(r", (axes|out_dtype|epsilon|center|scale)=(\[.*?\]|[^,)]+)", "", line) for line in short]
    short = [re.sub(r", ty_args=.*\)$", ")", line) for line in short]
    return "\n".join(short)


def kernel_excerpt(text: str) -> str:
    """Return the weight's parameter, and the innermost loop of a tile up to the second row."""
    parameter = re.search(r"weight: T\.Buffer\([^)]*\), \"float32\"\)", text)
    lines = text.splitlines()
    first = next(at for at, line in enumerate(lines) if "T.prefetch" in line)
    loop = max(at for at in range(first) if lines[at].lstrip().startswith("for "))
    shown = textwrap.dedent("\n".join(lines[loop : first + 11]))
    assert parameter is not None
    return f"{parameter[0]}\n…\n{shown}\n    …".replace(": T.let[T.float32x4]", "")


def assembly_excerpt(text: str) -> str:
    """Return the same part of the loop as machine instructions."""
    lines = [line.strip().replace("\t", " ") for line in text.splitlines() if not re.match(r"\.Ltmp|\s+\.", line)]
    first = next(at for at, line in enumerate(lines) if re.match(r"fmla .*\.s\[0\]", line))
    start = max(at for at in range(first) if lines[at].startswith(".LBB"))
    return "\n".join(
        re.sub(r"^(\w+) +", lambda found: f"{found[1]:<5} ", line) for line in lines[start + 1 : first + 12]
    )


def filled(page: str, listings: dict[str, str]) -> str:
    """Return the page with its listings renewed."""
    for name, text in listings.items():
        block = _BLOCK.format(name=name, text=text)
        pattern = rf"<!-- {name}: [^\n]*-->\n.*?<!-- end -->"
        if not re.search(pattern, page, flags=re.DOTALL):
            raise ValueError(f"the page has no place for the listing {name!r}")
        page = re.sub(pattern, block.replace("\\", r"\\"), page, flags=re.DOTALL)
    return page


def main() -> None:
    from harness.core.files import replacing

    listings = stages()
    with replacing(LISTINGS) as partial:
        partial.write_text(json.dumps(listings, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    if PAGE.is_file():
        with replacing(PAGE) as partial:
            partial.write_text(filled(PAGE.read_text(encoding="utf-8"), listings), encoding="utf-8")


if __name__ == "__main__":
    main()
