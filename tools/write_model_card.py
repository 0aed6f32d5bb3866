"""Write the embedded model's card from a stored run over the held-out words, so that no figure is typed by hand.

pytest suites --device host --words harness/models/g2p/words/held_out.tsv --repeat 1 -k parity
python tools/write_model_card.py latest --training FOLDER
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
from pathlib import Path
from typing import Any

from harness.core.cache import hash_file
from harness.core.errors import HarnessError, UsageError
from harness.models.g2p.checkpoints import EMBEDDED_FOLDER
from harness.models.g2p.languages import GRUUT_LANGUAGES
from harness.models.g2p.lexicon import HELD_OUT_PER_LANGUAGE
from harness.models.g2p.word_list import HELD_OUT_WORDS
from harness.results import Run, Store
from harness.results.schema import AccuracySummary

TEMPLATE = """\
# The embedded G2P model

A ByT5-format T5 v1.1 of {parameters:.1f} M parameters that turns words of 13 languages into IPA, in CharsiuG2P's
format: input `<eng-us>: word`, output the bytes of the IPA string. {layers} encoder and {decoder_layers} decoder
layers, d_model {d_model}, d_ff {d_ff}, {heads} heads of {d_kv}; float16 weights, {size:.1f} MB. It exists so that
the harness has a real model to compile, run and judge without a network; for products, use a checkpoint trained
for yours.

## Quality

{words} held-out words a language, never seen in training; PER over IPA segments and WER against the closest of the
lexicon's pronunciations, of the compiled model with its cache, measured by the harness (run `{run}`):

```
pytest suites --device host --words harness/models/g2p/words/held_out.tsv --repeat 1 -k parity
python tools/write_model_card.py latest --training FOLDER
```

| language | PER | WER |
|---|---|---|
{rows}
| mean of {count} | {mean_per:.3f} | {mean_wer:.3f} |

{equal} of {compared} answers have PyTorch's token ids.

## Training

{commands}

Seed {seed}, {steps} steps of about {batch_tokens:,} source and target tokens, {hours} on two shared cores. Data:
the lexicons of the `gruut-lang-*` packages (the extra `ondevice-harness[training]`), cleaned and split by
`harness/models/g2p/lexicon.py`: the {held_out} words of a language with the smallest hashes are held out.

Each lexicon's own conventions are the model's: stress is written in English, Dutch, Italian and Swedish only (there
with accent 2 as ²), German and Czech affricates come with and without a tie bar, and Arabic is learned from
vowelled and unvowelled spellings alike. Languages: {languages}.

Weights: sha256 `{sha256}`.
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", nargs="?", default="latest")
    parser.add_argument("--training", type=Path, required=True, help="the folder that training wrote to")
    parser.add_argument("--commands", type=Path, help="a file with the training's commands, if it was resumed")
    parser.add_argument("--results-dir", type=Path, default=Path("results"))
    arguments = parser.parse_args()
    try:
        card = render(Store(arguments.results_dir).find(arguments.run), arguments.training, arguments.commands)
    except HarnessError as error:
        print(f"write_model_card: {error}", file=sys.stderr)
        sys.exit(error.exit_code)
    (EMBEDDED_FOLDER / "README.md").write_text(card, encoding="utf-8")


def render(run: Run, training: Path, commands: Path | None) -> str:
    manifest, summary = run.manifest(), run.summary()
    facts = manifest.workloads.get("g2p")
    if summary is None or facts is None or facts.items != 2600:
        raise UsageError(
            f"run {manifest.run_id} is no complete run over the held-out words",
            cure=f"run the suites on {HELD_OUT_WORDS}",
        )
    if facts.label != "embedded":
        raise UsageError(f"run {manifest.run_id} is of {facts.label}", cure="run it on embedded")
    accuracy = {language: summary.workloads["g2p"].accuracy["cache"][language] for language in GRUUT_LANGUAGES}
    recipe: dict[str, Any] = json.loads((training / "recipe.json").read_text(encoding="utf-8"))
    weights = EMBEDDED_FOLDER / "model.safetensors"
    hours, minutes = divmod(round(recipe["seconds"] / 60), 60)
    parity = summary.workloads["g2p"].parity["cache"]
    return TEMPLATE.format(
        parameters=weights.stat().st_size / 2e6,
        layers=recipe["num_layers"],
        decoder_layers=recipe["num_decoder_layers"],
        d_model=recipe["d_model"],
        d_ff=recipe["d_ff"],
        heads=recipe["num_heads"],
        d_kv=recipe["d_kv"],
        size=weights.stat().st_size / 1e6,
        words=next(iter(accuracy.values())).items,
        run=manifest.run_id,
        rows="\n".join(f"| {language} | {a.per:.3f} | {a.wer:.3f} |" for language, a in accuracy.items()),
        count=len(accuracy),
        mean_per=mean(accuracy, "per"),
        mean_wer=mean(accuracy, "wer"),
        equal=sum(n for verdict, n in parity.by_verdict.items() if verdict.value == "equal"),
        compared=parity.items,
        commands=commands_text(commands),
        seed=recipe["seed"],
        steps=recipe["steps"],
        batch_tokens=recipe["batch_tokens"],
        hours=f"{hours} h {minutes} min",
        held_out=HELD_OUT_PER_LANGUAGE,
        languages=", ".join(GRUUT_LANGUAGES),
        sha256=hash_file(weights),
    )


def mean(accuracy: dict[str, AccuracySummary], field: str) -> float:
    return statistics.fmean(getattr(a, field) for a in accuracy.values())


def commands_text(path: Path | None) -> str:
    text = path.read_text(encoding="utf-8").strip() if path else "python -m harness.models.g2p.training --output FOLDER"
    return f"```\n{text}\n```"


if __name__ == "__main__":
    main()
