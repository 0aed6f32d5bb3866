"""Run the commands of the pages, and write what they print today into the outputs that the pages show.

python -m tools.write_docs_outputs            # takes a minute; needs `make setup`, and the device host to be free
python -m tools.write_docs_outputs --check    # exit status 1 if an output has other lines than were printed

Numbers are renewed. A line that is no longer printed is reported with what was printed, and
kept: choose which lines the page shows, with … for the others.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from tests.docs.blocks import ROOT, Reader, renewed
from tests.docs.run import RUN


def main() -> int:
    """Write the pages, and return the exit status."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--check", action="store_true", help="write nothing")
    check = parser.parse_args().check
    wrong = 0
    with tempfile.TemporaryDirectory() as folder:
        reader = Reader(Path(folder))
        for name, within in RUN.items():
            page = ROOT / name
            source = page.read_text(encoding="utf-8")
            # From the end, so that the places of the blocks before stay right.
            for block, printed in reversed(reader.follow(page, within)):
                start, end = block.span
                indent = " " * (len(source[start:end]) - len(source[start:end].lstrip(" ")))
                try:
                    new = renewed(block.body, printed)
                except ValueError as error:
                    print(f"{block.place}: {error}", file=sys.stderr)
                    wrong += 1
                    continue
                source = source[:start] + "".join(f"{indent}{line}\n" for line in new.splitlines()) + source[end:]
            if not check:
                unfinished = page.with_name(f".{page.name}.new")
                unfinished.write_text(source, encoding="utf-8")
                unfinished.replace(page)
            print(name)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
