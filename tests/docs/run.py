"""The pages whose commands are run, in this order, by one reader: each finds what those before it have left."""

from __future__ import annotations

RUN = {
    "docs/tutorials/ten-minutes.md": ".",
    "docs/tutorials/a-regression.md": ".",
    "docs/history.md": "my-project",
}
"""Each page with the folder where its reader begins."""
