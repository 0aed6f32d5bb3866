"""Draw a kernel's way from a torch module to machine instructions, with listings of a real compile."""

from __future__ import annotations

import json
import re
import textwrap
from pathlib import Path

from tools.diagrams.drawing import MONO, WIDTH, Drawing, wrapped

LISTINGS = Path(__file__).with_name("kernel_stages.json")
INDENT = "    "
STEPS: tuple[tuple[str, str, str, str], ...] = (
    ("torch", "PyTorch", "The model as its author wrote it.", ""),
    (
        "graph",
        "Graph",
        "torch.export lists the operators. linear, layer_norm and attention stay whole.",
        "compiler/importer/exporting.py",
    ),
    (
        "relax",
        "Relax",
        "Every operator becomes one or a few of TVM's Relax. A node's name is kept beside its value.",
        "compiler/importer/importing.py",
    ),
    (
        "fused",
        "One fused operator",
        "A pattern finds the norm, the product, the bias and the activation, and replaces all of them.",
        "compiler/passes/p20_fuse_patterns.py\ncompiler/operators/product.py",
    ),
    (
        "kernel",
        "Kernel",
        "A template writes the loops for these sizes and this CPU: here 4 rows by 16 columns stay in registers. The "
        "weight is packed in the order in which the loops read it.",
        "compiler/passes/p22_pack_weights.py\ncompiler/kernels/product.py\ncompiler/targets/profiles.py",
    ),
    (
        "assembly",
        "Machine code",
        "LLVM turns the loops into instructions. One fmla multiplies four columns by one element of a row, and adds.",
        "compiler/lower.py",
    ),
    (
        "",
        "Archive",
        "Object files of all functions, and the weights once, go into one static library, which the runner links.",
        "compiler/passes/p41_link_weights.py\ncompiler/objects.py",
    ),
)
"""The listing of each stage, its name, what happens, and the modules that do it."""


def kernel() -> str:
    listings = json.loads(LISTINGS.read_text(encoding="utf-8"))
    drawing = Drawing(
        "A kernel's way from torch to assembly", " ".join(f"{name}: {words}" for _, name, words, _ in STEPS)
    )
    y = 12.0
    for at, (listing, name, words, code) in enumerate(STEPS):
        if at:
            drawing.arrow((WIDTH / 2, y + 2), (WIDTH / 2, y + 18))
            y += 20
        shown = excerpt(listing, listings[listing]) if listing else ""
        place, top = len(drawing.pieces), y
        lines = wrapped(words, WIDTH - 44, 12)
        modules = [line for part in code.split("\n") if part for line in wrapped(part, WIDTH - 44, 10.5, MONO)]
        drawing.text(22, y + 20, f"{at + 1}. {name}", size=13, style="bold")
        y += 20
        for line in lines:
            y += 16
            drawing.text(22, y, line)
        for line in modules:
            y += 14.5
            drawing.text(22, y, line, size=10.5, style="mono dim")
        y = drawing.listing(20, y + 9, WIDTH - 40, shown) + 8 if shown else y + 10
        framed = Drawing("", "")
        framed.box(12, top, WIDTH - 24, y - top)
        drawing.pieces[place:place] = framed.pieces
    return drawing.svg(y + 12)


def excerpt(name: str, text: str) -> str:
    """Return a listing's most telling lines, none too wide for the diagram."""
    lines = text.split("\n")
    if name == "kernel":
        loop = next(at for at, line in enumerate(lines) if line.startswith("for "))
        shuffle = next(at for at, line in enumerate(lines) if "Shuffle" in line)
        lines = [lines[0], "…", lines[loop], lines[loop + 1], INDENT + "…", *lines[shuffle - 4 : shuffle + 3]]
        lines += [INDENT + "…"]
    elif name == "assembly":
        first = next(at for at, line in enumerate(lines) if line.startswith("fmla"))
        lines = ["…", *lines[first - 2 : first + 5], "…"]
    most = int((WIDTH - 40 - 16) / (10.0 * MONO))
    found: list[str] = []
    for line in lines:
        found += textwrap.wrap(line, most, subsequent_indent=INDENT, break_on_hyphens=False, drop_whitespace=True,
                               replace_whitespace=False) if len(line) > most else [line]  # fmt: skip
    return "\n".join(re.sub(r"\s+$", "", line) for line in found)
