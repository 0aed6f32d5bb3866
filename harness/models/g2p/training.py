"""Train the embedded G2P model on the gruut lexicons: ``python -m harness.models.g2p.training --help``.

A ByT5-format T5 v1.1 with batches of one input length each, so that no encoder row is padding; bfloat16
autocast; Muon (Jordan et al. 2024) for the matrices of the blocks and AdamW for embeddings and norms; a
trapezoidal learning rate (Hägele et al. 2024), whose decay can be started from any checkpoint. Everything is
derived from ``--seed`` and the step's number, so a resumed run sees the batches an unbroken one would.
"""

from __future__ import annotations

import json
import math
import random
import time
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any

import torch
import typer
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import T5Config, T5ForConditionalGeneration

from harness.core.files import replacing
from harness.models.g2p.items import encode_prompt
from harness.models.g2p.languages import GRUUT_LANGUAGES
from harness.models.g2p.lexicon import Entry, load_split
from harness.models.g2p.network import Decoder, Encoder
from harness.models.tokenizer import EOS_ID, PAD_ID, VOCABULARY_SIZE, encode

WORDS_PER_EPOCH: dict[str, int] = {
    "ara": 60_000,
    "cze": 25_000,
    "dut": 60_000,
    "eng-us": 125_000,
    "fas": 30_000,
    "fra": 60_000,
    "ger": 60_000,
    "ita": 35_000,
    "por-bz": 50_000,
    "rus": 50_000,
    "spa": 15_000,
    "swa": 15_000,
    "swe": 45_000,
}
"""How often a language is drawn in one pass: irregular spellings more often, regular ones less than their lexicon."""

CAPACITY = 128
"""The number of positions for which the relative bias is computed in training; it holds for any length beyond."""


SMALLEST_COMPILED_BATCH = 8


@dataclass(frozen=True)
class Recipe:
    """Hold everything that decides the result; it is kept with the checkpoint."""

    steps: int
    seed: int
    batch_tokens: int
    learning_rate: float
    d_model: int
    d_ff: int
    num_heads: int
    d_kv: int
    num_layers: int
    num_decoder_layers: int
    warmup: int = 200
    decay_fraction: float = 0.7


@dataclass(frozen=True)
class Example:
    source: tuple[int, ...]
    target: tuple[int, ...]


class TeacherForced(nn.Module):
    """Run encoder and full decoder in one graph: logits [B, T, V]."""

    def __init__(self, t5: T5ForConditionalGeneration) -> None:
        super().__init__()
        self.encoder = Encoder(t5, CAPACITY)
        self.decoder = Decoder(t5, CAPACITY)

    def forward(self, source: Tensor, shifted: Tensor) -> Tensor:
        logits: Tensor = self.decoder(shifted, self.encoder(source))
        return logits


def example(entry: Entry) -> Example:
    return Example(tuple(encode_prompt(entry.language, entry.word)), (*encode(entry.pronunciations[0]), EOS_ID))


def epoch_batches(pool: dict[str, list[Example]], recipe: Recipe, epoch: int) -> list[list[Example]]:
    """Return the batches of one pass.

    A batch has one source length, and target lengths within four tokens of each other.
    """
    rng = random.Random(f"{recipe.seed}/{epoch}")
    buckets: dict[tuple[int, int], list[Example]] = defaultdict(list)
    for language, examples in pool.items():
        wanted = WORDS_PER_EPOCH[language]
        whole, rest = divmod(wanted, len(examples))
        for drawn in [*examples * whole, *rng.sample(examples, rest)]:
            buckets[len(drawn.source), len(drawn.target) // 4].append(drawn)
    batches = []
    for key in sorted(buckets):
        members = buckets[key]
        rng.shuffle(members)
        size = max(1, recipe.batch_tokens // (key[0] + 4 * key[1] + 4))
        batches += [members[at : at + size] for at in range(0, len(members), size)]
    rng.shuffle(batches)
    return batches


def batches_from(pool: dict[str, list[Example]], recipe: Recipe, step: int) -> Iterator[list[Example]]:
    """Yield the batches of an endless training run, beginning with that of ``step``."""
    epoch = seen = 0
    while True:
        batches = epoch_batches(pool, recipe, epoch)
        if seen + len(batches) > step:
            yield from batches[max(0, step - seen) :]
        seen += len(batches)
        epoch += 1


def tensors(batch: list[Example]) -> tuple[Tensor, Tensor, Tensor]:
    """Return source [B, S], decoder input [B, T] and labels [B, T] with -100 after each end."""
    length = -(-max(len(e.target) for e in batch) // 4) * 4
    labels = torch.full((len(batch), length), -100)
    for row, item in enumerate(batch):
        labels[row, : len(item.target)] = torch.tensor(item.target)
    shifted = torch.cat([torch.full((len(batch), 1), PAD_ID), labels[:, :-1].clamp_min(PAD_ID)], dim=1)
    return torch.tensor([e.source for e in batch]), shifted, labels


def rate(step: int, recipe: Recipe) -> float:
    """Return the learning rate's factor: linear warm-up, constant, then linear decay to zero."""
    decay = recipe.steps * recipe.decay_fraction
    return max(0.0, min(1.0, (step + 1) / recipe.warmup, (recipe.steps - step) / decay))


def optimizers(t5: T5ForConditionalGeneration, recipe: Recipe) -> list[torch.optim.Optimizer]:
    blocks: list[Tensor] = []
    others: list[Tensor] = []
    for name, parameter in t5.named_parameters():
        hidden = parameter.ndim == 2 and ".block." in name and "relative" not in name
        (blocks if hidden else others).append(parameter)
    return [
        torch.optim.Muon(blocks, lr=recipe.learning_rate, weight_decay=0.05, adjust_lr_fn="match_rms_adamw"),
        torch.optim.AdamW(others, lr=recipe.learning_rate, weight_decay=0.0, betas=(0.9, 0.98)),
    ]


def new_model(recipe: Recipe) -> T5ForConditionalGeneration:
    torch.manual_seed(recipe.seed)
    config = T5Config(
        vocab_size=VOCABULARY_SIZE,
        d_model=recipe.d_model,
        d_kv=recipe.d_kv,
        d_ff=recipe.d_ff,
        num_heads=recipe.num_heads,
        num_layers=recipe.num_layers,
        num_decoder_layers=recipe.num_decoder_layers,
        feed_forward_proj="gated-gelu",
        tie_word_embeddings=False,
        dropout_rate=0.0,
        decoder_start_token_id=PAD_ID,
        pad_token_id=PAD_ID,
        eos_token_id=EOS_ID,
    )
    t5 = T5ForConditionalGeneration(config)
    # transformers makes every new T5 tied; v1.1 is not. Its unit variance would start at a loss of 100, not 6.
    t5.lm_head.weight = nn.Parameter(torch.randn_like(t5.lm_head.weight) * recipe.d_model**-0.5)
    return t5


@torch.no_grad()
def validation(model: nn.Module, examples: list[Example]) -> tuple[float, float]:
    """Return the mean cross-entropy per token, and the share of words whose every teacher-forced token is right."""
    loss = tokens = words = 0.0
    by_length: dict[int, list[Example]] = defaultdict(list)
    for item in examples:
        by_length[len(item.source)].append(item)
    for members in by_length.values():
        source, shifted, labels = tensors(members)
        logits = model(source, shifted).float()
        loss += F.cross_entropy(logits.flatten(0, 1), labels.flatten(), ignore_index=-100, reduction="sum").item()
        tokens += (labels >= 0).sum().item()
        words += ((logits.argmax(-1) == labels) | (labels < 0)).all(1).sum().item()
    return loss / tokens, words / len(examples)


def train(
    recipe: Recipe,
    output: Path,
    *,
    resume: bool = False,
    threads: int = 2,
    compiled: bool = True,
    stop_at: int | None = None,
    save_every: float = 120.0,
) -> None:
    """Train to ``recipe.steps`` (or ``stop_at``) and write ``training.pt``, then the finished model."""
    torch.set_num_threads(threads)
    output.mkdir(parents=True, exist_ok=True)
    checkpoint = output / "training.pt"
    t5 = new_model(recipe)
    model = TeacherForced(t5)
    forward = torch.compile(model, dynamic=True) if compiled else model
    optimizer_list = optimizers(t5, recipe)
    step, seconds = 0, 0.0
    if resume and checkpoint.exists():
        state = torch.load(checkpoint, weights_only=True)
        t5.load_state_dict(state["model"])
        for optimizer, saved in zip(optimizer_list, state["optimizers"], strict=True):
            optimizer.load_state_dict(saved)
        step, seconds = state["step"], state["seconds"]
        print(f"resumed at step {step} of {recipe.steps}", flush=True)

    print("reading the lexicons …", flush=True)
    splits = {language: load_split(language) for language in GRUUT_LANGUAGES}
    pool = {language: [example(e) for e in split.train] for language, split in splits.items()}
    held_out = [example(e) for split in splits.values() for e in split.held_out[300:400]]
    print("  ".join(f"{language} {len(pool[language])}" for language in pool), flush=True)

    def save(current: int) -> None:
        state = {
            "model": t5.state_dict(),
            "optimizers": [o.state_dict() for o in optimizer_list],
            "step": current,
            "seconds": seconds,
        }
        with replacing(checkpoint) as partial:
            torch.save(state, partial)
        (output / "recipe.json").write_text(
            json.dumps(asdict(recipe) | {"step": current, "seconds": round(seconds)}, indent=2) + "\n", encoding="utf-8"
        )

    normal = recipe.batch_tokens / 2.5
    running, began, saved_at = 0.0, time.monotonic(), time.monotonic()
    for batch in batches_from(pool, recipe, step):
        if step >= min(recipe.steps, stop_at or recipe.steps):
            break
        factor = rate(step, recipe)
        for optimizer in optimizer_list:
            for group in optimizer.param_groups:
                group["lr"] = recipe.learning_rate * factor
        source, shifted, labels = tensors(batch)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            # The compiler would specialise on a batch of one; rare lengths are not worth it.
            logits = (forward if len(batch) >= SMALLEST_COMPILED_BATCH else model)(source, shifted)
        total = F.cross_entropy(logits.float().flatten(0, 1), labels.flatten(), ignore_index=-100, reduction="sum")
        torch.autograd.backward(total / normal)
        nn.utils.clip_grad_norm_(t5.parameters(), 1.0)
        for optimizer in optimizer_list:
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        mean = total.item() / int((labels >= 0).sum())
        running = mean if running == 0.0 else 0.98 * running + 0.02 * mean
        if not math.isfinite(mean):
            raise SystemExit(f"the loss is {mean} at step {step}: lower --learning-rate")
        step += 1
        now = time.monotonic()
        seconds, began = seconds + now - began, now
        if step % 50 == 0:
            print(
                f"step {step}/{recipe.steps}  loss {running:.4f}  lr {factor:.3f}  {seconds / 60:.1f} min", flush=True
            )
        if step % 500 == 0:
            loss, words = validation(model, held_out)
            print(f"  held out: loss {loss:.4f}  words right {words:.1%}", flush=True)
        if now - saved_at > save_every:
            save(step)
            saved_at = now
    save(step)
    if step < recipe.steps:
        print(f"stopped at step {step} of {recipe.steps}; --resume continues", flush=True)
        return
    export(t5, output)
    loss, words = validation(model, held_out)
    print(f"done: {step} steps, {seconds / 60:.1f} min, held-out loss {loss:.4f}, words right {words:.1%}", flush=True)


def export(t5: T5ForConditionalGeneration, output: Path) -> None:
    """Write the float16 checkpoint that ``--checkpoint FOLDER`` reads."""
    shared = {"encoder.embed_tokens.weight", "decoder.embed_tokens.weight"}
    weights = {
        name: value.to(torch.float16).contiguous() for name, value in t5.state_dict().items() if name not in shared
    }
    save_file(weights, output / "model.safetensors", metadata={"format": "pt"})
    config: dict[str, Any] = t5.config.to_dict() | {
        "architectures": ["T5ForConditionalGeneration"],
        "dtype": "float16",
        "tie_word_embeddings": False,
    }
    config.pop("transformers_version", None)
    config.pop("scale_decoder_outputs", None)  # follows from tie_word_embeddings when transformers reads it
    (output / "config.json").write_text(json.dumps(config, indent=2, sort_keys=True) + "\n", encoding="utf-8")


def main(
    output: Annotated[Path, typer.Option(help="folder for checkpoints and the finished model")],
    steps: Annotated[int, typer.Option(help="optimizer steps in all; a resumed run may name another number")] = 6500,
    resume: Annotated[bool, typer.Option(help="continue from the checkpoint in --output")] = False,
    seed: int = 1,
    threads: int = 2,
    batch_tokens: Annotated[int, typer.Option(help="source and target tokens of a batch")] = 14_000,
    learning_rate: float = 2e-3,
    d_model: int = 256,
    d_ff: int = 512,
    num_heads: int = 4,
    d_kv: int = 64,
    num_layers: int = 4,
    num_decoder_layers: int = 2,
    compiled: Annotated[bool, typer.Option(help="torch.compile the model (a minute once, then a third faster)")] = True,
    decay_fraction: Annotated[
        float, typer.Option(help="last part of the steps over which the rate falls to zero")
    ] = 0.7,
    stop_at: Annotated[int | None, typer.Option(help="end after this step with a checkpoint to resume from")] = None,
    save_every: Annotated[float, typer.Option(help="seconds between checkpoints")] = 120.0,
) -> None:
    """Train the embedded G2P model. Ctrl-C loses at most --save-every seconds; --resume continues."""
    recipe = Recipe(
        steps=steps,
        seed=seed,
        batch_tokens=batch_tokens,
        learning_rate=learning_rate,
        d_model=d_model,
        d_ff=d_ff,
        num_heads=num_heads,
        d_kv=d_kv,
        num_layers=num_layers,
        num_decoder_layers=num_decoder_layers,
        decay_fraction=decay_fraction,
    )
    train(recipe, output, resume=resume, threads=threads, compiled=compiled, stop_at=stop_at, save_every=save_every)


if __name__ == "__main__":
    typer.run(main)
