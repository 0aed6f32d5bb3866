"""Write the diagrams of the docs into docs/images/diagrams, from what the code has.

python -m tools.write_diagrams
"""

from __future__ import annotations

from pathlib import Path

from harness.core.files import replacing
from tools.diagrams.architecture import architecture
from tools.diagrams.gate import gate
from tools.diagrams.kernel import kernel
from tools.diagrams.order import order

FOLDER = Path(__file__).resolve().parent.parent / "docs/images/diagrams"


def diagrams() -> dict[str, str]:
    """Return every file's name and its text."""
    return {
        "architecture.svg": architecture(),
        "order.svg": order(),
        "gate.svg": gate(),
        "kernel.svg": kernel(),
    }


def main() -> None:
    FOLDER.mkdir(parents=True, exist_ok=True)
    for name, text in diagrams().items():
        with replacing(FOLDER / name) as partial:
            partial.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
