"""Train the shipped byte-level language model: ``python -m tools.byte_lm.train --help``.

A Llama of 256 tokens, which are bytes, on the texts of :mod:`tools.byte_lm.texts`. Muon for the matrices of the blocks
and AdamW for all others; a trapezoidal learning rate (Hägele et al. 2024), whose decay can be started from any
checkpoint: resume with another ``--steps``. A step's windows follow from ``--seed`` and the step's number, so a resumed
training sees those that an unbroken one would.
"""

from __future__ import annotations

import json
import math
import signal
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
import typer
from safetensors.torch import save_file
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from torch import Tensor, nn
from torch.nn import functional as F
from transformers.models.auto.configuration_auto import CONFIG_MAPPING
from transformers.models.auto.modeling_auto import AutoModelForCausalLM

from harness.core.files import replacing
from tools.byte_lm.muon import Muon
from tools.byte_lm.texts import PACKAGES, Document, read_documents

BYTES = 256
HEAD_SIZE = 64
CHECKPOINT, RECIPE = "training.pt", "recipe.json"
VALIDATION_WINDOWS = 64
"""Windows of held-out text in a validation; ``ship.py`` takes all."""


@dataclass(frozen=True)
class Recipe:
    """Hold everything that decides the result; it is kept with the checkpoint."""

    steps: int
    seed: int
    rows: int
    """Windows of a step."""
    window: int
    """Bytes of a window: the positions that the model takes."""
    learning_rate: float
    width: int
    layers: int
    hidden: int
    warmup: int = 100
    decay_fraction: float = 0.4


def configuration(recipe: Recipe) -> dict[str, Any]:
    """Return the ``config.json`` of the model. Two heads share keys and values."""
    heads = recipe.width // HEAD_SIZE
    sizes = {"hidden_size": recipe.width, "num_hidden_layers": recipe.layers, "intermediate_size": recipe.hidden}
    heads_of = {"num_attention_heads": heads, "num_key_value_heads": max(1, heads // 2)}
    return {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "vocab_size": BYTES,
        **sizes,
        **heads_of,
        "max_position_embeddings": recipe.window,
        "hidden_act": "silu",
        "rms_norm_eps": 1e-5,
        "rope_theta": 10000.0,
        "tie_word_embeddings": False,
        # Every token is a byte of text, so none begins or ends one.
        "bos_token_id": None,
        "eos_token_id": None,
        "dtype": "float16",
    }


def streams(documents: Iterable[Document], *, held_out: bool) -> dict[str, np.ndarray[Any, np.dtype[np.uint8]]]:
    """Return the bytes of each package's documents, one after the other."""
    found: dict[str, list[bytes]] = {source: [] for source in PACKAGES}
    for document in documents:
        if document.held_out == held_out:
            found[document.source].append(document.text.encode() + b"\n\n")
    return {source: np.frombuffer(b"".join(parts), np.uint8) for source, parts in found.items()}


def windows(pool: Mapping[str, np.ndarray[Any, Any]], recipe: Recipe, step: int) -> Tensor:
    """Return a step's windows, int64 [rows, window + 1]: packages by their shares, and places at random."""
    drawn = np.random.Generator(np.random.PCG64([recipe.seed, step]))
    sources = [source for source in PACKAGES if source in pool]
    shares = np.array([PACKAGES[source].share for source in sources])
    rows = []
    for source in drawn.choice(len(sources), recipe.rows, p=shares / shares.sum()):
        text = pool[sources[source]]
        begin = int(drawn.integers(0, len(text) - recipe.window))
        rows.append(text[begin : begin + recipe.window + 1])
    return torch.from_numpy(np.stack(rows).astype(np.int64))


def rate(step: int, recipe: Recipe) -> float:
    """Return the learning rate's factor: linear warm-up, constant, then linear decay to zero."""
    decay = recipe.steps * recipe.decay_fraction
    return max(0.0, min(1.0, (step + 1) / recipe.warmup, (recipe.steps - step) / decay))


def new_model(recipe: Recipe) -> nn.Module:
    torch.manual_seed(recipe.seed)
    known = {key: value for key, value in configuration(recipe).items() if key not in ("model_type", "dtype")}
    model = AutoModelForCausalLM.from_config(CONFIG_MAPPING["llama"](**known), dtype=torch.float32)
    assert isinstance(model, nn.Module)
    return model.train()


def optimizers(model: nn.Module, recipe: Recipe) -> list[torch.optim.Optimizer]:
    matrices = [one for name, one in model.named_parameters() if one.ndim == 2 and ".layers." in name]
    inside = {id(one) for one in matrices}
    others = [one for one in model.parameters() if id(one) not in inside]
    return [
        Muon(matrices, lr=recipe.learning_rate),
        torch.optim.AdamW(others, lr=recipe.learning_rate, weight_decay=0.0, betas=(0.9, 0.98)),
    ]


def loss_of(model: nn.Module, batch: Tensor) -> Tensor:
    """Return the mean cross-entropy, in nats, of each byte of windows [rows, window + 1] after the first one."""
    logits = model(input_ids=batch[:, :-1], use_cache=False).logits
    return F.cross_entropy(logits.flatten(0, 1), batch[:, 1:].flatten())


@torch.no_grad()
def bits_per_byte(model: nn.Module, text: np.ndarray[Any, Any], window: int, most: int | None = None) -> float:
    """Return the cross-entropy of a text in windows that follow each other, or in so many of them, spread evenly."""
    count = (len(text) - 1) // window
    chosen = range(count) if most is None else sorted({at * count // most for at in range(most)})
    total = 0.0
    for begin in chosen:
        piece = text[begin * window : (begin + 1) * window + 1]
        total += loss_of(model, torch.from_numpy(piece.astype(np.int64))[None]).item()
    return total / len(chosen) / math.log(2)


def train(
    recipe: Recipe,
    documents: Iterable[Document],
    output: Path,
    *,
    resume: bool = False,
    threads: int = 1,
    compiled: bool = False,
    stop_at: int | None = None,
    save_every: float = 60.0,
    validate_every: int = 100,
    say: Callable[[str], None] = lambda text: print(text, flush=True),
) -> None:
    """Train to ``recipe.steps`` (or ``stop_at``) and write ``training.pt``, then the finished model."""
    torch.set_num_threads(threads)
    output.mkdir(parents=True, exist_ok=True)
    checkpoint = output / CHECKPOINT
    model = new_model(recipe)
    forward: nn.Module = torch.compile(model) if compiled else model  # type: ignore[assignment]
    optimizer_list = optimizers(model, recipe)
    step, seconds = 0, 0.0
    if resume and checkpoint.exists():
        state = torch.load(checkpoint, weights_only=True)
        model.load_state_dict(state["model"])
        for optimizer, saved in zip(optimizer_list, state["optimizers"], strict=True):
            optimizer.load_state_dict(saved)
        step, seconds = state["step"], state["seconds"]
        say(f"resumed at step {step} of {recipe.steps}")
    documents = list(documents)
    pool = streams(documents, held_out=False)
    whole = np.concatenate(list(streams(documents, held_out=True).values()))
    parameters = sum(one.numel() for one in model.parameters())
    say(f"{parameters} parameters; " + ", ".join(f"{source}: {len(text)} bytes" for source, text in pool.items()))

    def save() -> None:
        state = {
            "model": model.state_dict(),
            "optimizers": [one.state_dict() for one in optimizer_list],
            "step": step,
            "seconds": seconds,
        }
        with replacing(checkpoint) as partial:
            torch.save(state, partial)
        with replacing(output / RECIPE) as partial:
            facts = {**asdict(recipe), "step": step, "seconds": round(seconds), "parameters": parameters}
            partial.write_text(json.dumps(facts, indent=2) + "\n", encoding="utf-8")

    asked_to_end = False

    def end(_number: int, _frame: Any) -> None:
        nonlocal asked_to_end
        asked_to_end = True

    before = signal.signal(signal.SIGTERM, end)
    last = min(recipe.steps, stop_at or recipe.steps)
    running, began, saved_at = 0.0, time.monotonic(), time.monotonic()
    try:
        while step < last and not asked_to_end:
            factor = rate(step, recipe)
            for optimizer in optimizer_list:
                for group in optimizer.param_groups:
                    group["lr"] = recipe.learning_rate * factor
            loss = loss_of(forward, windows(pool, recipe, step))
            loss.backward()  # type: ignore[no-untyped-call]
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            for optimizer in optimizer_list:
                optimizer.step()
                optimizer.zero_grad(set_to_none=True)
            mean = loss.item() / math.log(2)
            if not math.isfinite(mean):
                raise SystemExit(f"the loss is {mean} at step {step}: lower --learning-rate")
            running = mean if running == 0.0 else 0.95 * running + 0.05 * mean
            step += 1
            now = time.monotonic()
            seconds, began = seconds + now - began, now
            if step % 20 == 0:
                say(f"step {step}/{recipe.steps}  {running:.4f} bits  rate {factor:.3f}  {seconds / 60:.1f} min")
            if step % validate_every == 0:
                say(f"  held out: {bits_per_byte(model, whole, recipe.window, VALIDATION_WINDOWS):.4f} bits a byte")
            if now - saved_at > save_every:
                save()
                saved_at = now
    finally:
        signal.signal(signal.SIGTERM, before)
    save()
    if step < recipe.steps:
        say(f"stopped at step {step} of {recipe.steps}; --resume continues")
        return
    export(model, recipe, output)
    found = bits_per_byte(model, whole, recipe.window, VALIDATION_WINDOWS)
    say(f"done: {step} steps, {seconds / 60:.1f} min, held out: {found:.4f} bits a byte")


def export(model: nn.Module, recipe: Recipe, output: Path) -> None:
    """Write the model's folder."""
    weights = {name: value.to(torch.float16).contiguous() for name, value in model.state_dict().items()}
    save_file(weights, output / "model.safetensors", metadata={"format": "pt"})
    (output / "config.json").write_text(json.dumps(configuration(recipe), indent=2) + "\n", encoding="utf-8")
    byte_tokenizer().save(str(output / "tokenizer.json"))


def byte_tokenizer() -> Tokenizer:
    """Return a tokenizer whose tokens are the bytes of UTF-8, by their values.

    Bytes that are no letters of their own are written as characters from 256 on, in their order: GPT-2's alphabet.
    """
    own = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [byte for byte in range(BYTES) if byte not in own]
    vocabulary = {chr(byte): byte for byte in own} | {chr(BYTES + at): byte for at, byte in enumerate(others)}
    found = Tokenizer(models.BPE(vocabulary, []))
    found.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    found.decoder = decoders.ByteLevel()
    return found


def main(
    texts: Annotated[Path, typer.Option(help="the folder with the packages of tools/byte_lm/texts.py")],
    output: Annotated[Path, typer.Option(help="folder for checkpoints and the finished model")],
    steps: Annotated[int, typer.Option(help="steps in all; a resumed training may name another number")] = 1500,
    resume: Annotated[bool, typer.Option(help="continue from the checkpoint in --output")] = False,
    seed: int = 1,
    threads: int = 1,
    rows: Annotated[int, typer.Option(help="windows of a step")] = 8,
    window: Annotated[int, typer.Option(help="bytes of a window")] = 256,
    learning_rate: float = 4e-3,
    width: int = 256,
    layers: int = 4,
    hidden: int = 640,
    compiled: Annotated[bool, typer.Option(help="torch.compile the model")] = False,
    decay_fraction: Annotated[float, typer.Option(help="last part of the steps, with a falling rate")] = 0.4,
    stop_at: Annotated[int | None, typer.Option(help="end after this step with a checkpoint to resume from")] = None,
    save_every: Annotated[float, typer.Option(help="seconds between checkpoints")] = 60.0,
) -> None:
    """Train the shipped byte-level model. SIGTERM saves and ends; otherwise at most --save-every seconds are lost."""
    recipe = Recipe(
        steps=steps,
        seed=seed,
        rows=rows,
        window=window,
        learning_rate=learning_rate,
        width=width,
        layers=layers,
        hidden=hidden,
        decay_fraction=decay_fraction,
    )
    documents = read_documents(texts)
    train(
        recipe,
        documents,
        output,
        resume=resume,
        threads=threads,
        compiled=compiled,
        stop_at=stop_at,
        save_every=save_every,
    )


if __name__ == "__main__":
    typer.run(main)
