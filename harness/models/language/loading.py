"""Load language models: ours for the compiler, and transformers' own for the reference and for the timing process."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from transformers import AutoModelForCausalLM
from transformers.initialization import no_init_weights
from transformers.models.auto.configuration_auto import CONFIG_MAPPING

from harness.models.errors import BadCheckpoint
from harness.models.language.description import Decoder
from harness.models.language.families import describe
from harness.models.language.network import Blocks, Prefill, Step
from harness.models.language.weights import Weights, opened_weights, weight_shapes
from harness.models.timing import Call

CHECKED_LAYERS = 2
CHECKED_TOKENS = 9
CHECK_TOLERANCE = 1e-3
"""The largest difference from transformers, as a share of the largest magnitude. Float32 sums give about 1e-6."""


def transformers_model(config: Mapping[str, Any], weights: Weights, layers: int | None = None) -> Any:
    """Return transformers' model in float32 with these weights; ``layers`` truncates it after the first ones."""
    known = {key: value for key, value in config.items() if key not in ("model_type", "quantization_config")}
    if layers is not None:
        known["n_layer" if config["model_type"] == "gpt2" else "num_hidden_layers"] = layers
        if known.get("layer_types") is not None:
            known["layer_types"] = known["layer_types"][:layers]
    made = CONFIG_MAPPING[config["model_type"]](**known)
    decoder = describe({"model_type": config["model_type"], **known})
    # transformers' own fast attention leaves the cap of the scores out.
    attention = "eager" if decoder.score_cap else "sdpa"
    with no_init_weights():
        model = AutoModelForCausalLM.from_config(made, dtype=torch.float32, attn_implementation=attention)
    state = {name: weights.take(name, shape) for name, shape in weight_shapes(decoder)}
    missing, unexpected = model.load_state_dict(state, strict=False, assign=True)
    if unexpected or [name for name in missing if not (decoder.tied and name == "lm_head.weight")]:
        raise BadCheckpoint(f"transformers' {config['model_type']} has other weights: {[*missing, *unexpected][0]}")
    model.tie_weights()
    model.generation_config.eos_token_id = model.generation_config.pad_token_id = None
    return model.eval()


def check_layers(config: Mapping[str, Any], decoder: Decoder, source: Mapping[str, Any]) -> dict[str, float]:
    """Compare our blocks with transformers', layer by layer, over the model's first layers and its own weights.

    Returns the largest error of each stage, as a share of its largest magnitude. Raises BadCheckpoint for the first
    stage that diverges.
    """
    weights, layers = opened_weights(decoder, source), min(CHECKED_LAYERS, decoder.layers)
    model = transformers_model(config, weights, layers)
    short = describe_short(config, layers)
    blocks = Blocks(short, weights, 16)
    step = Step(blocks, weights)
    tokens = torch.arange(CHECKED_TOKENS, dtype=torch.int32) * 7919 % decoder.vocab_size
    with torch.inference_mode():
        theirs = model.model if hasattr(model, "model") else model.transformer
        seen = _seen(theirs, lambda: theirs(input_ids=tokens[None].long(), use_cache=False))
        position, cache = torch.zeros(1, dtype=torch.int32), torch.zeros(short.layers, 2, 16 * short.keys)
        ours = {"embedding": blocks.embedded(tokens, position)}
        x = ours["embedding"]
        for number, block in enumerate(blocks.blocks):
            x, cache = block(x, blocks.turned(number), position, cache)
            ours[f"layer {number}"] = x
        ours["norm"] = step.norm(x)
    found = {stage: _departure(value, seen[stage]) for stage, value in ours.items()}
    for stage, error in found.items():
        if not error <= CHECK_TOLERANCE:
            raise BadCheckpoint(
                f"the {stage} of {decoder.family} diverges from transformers' by {error:.2g} of its largest value",
                cure="the description of its blocks is wrong for this model; report it",
            )
    return found


def describe_short(config: Mapping[str, Any], layers: int) -> Decoder:
    """Return the description of a model truncated after its first layers."""
    name = "n_layer" if config["model_type"] == "gpt2" else "num_hidden_layers"
    kinds = config.get("layer_types")
    return describe({**config, name: layers, **({"layer_types": kinds[:layers]} if kinds else {})})


def _seen(model: Any, run: Callable[[], Any]) -> dict[str, Tensor]:
    """Run transformers' model; return what its layers and its last norm compute, and what goes into the first."""
    found: dict[str, Tensor] = {}
    layers = model.layers if hasattr(model, "layers") else model.h
    norm = next(getattr(model, name) for name in ("norm", "final_layernorm", "ln_f") if hasattr(model, name))

    def keep(stage: str) -> Callable[..., None]:
        def kept(_module: Any, _inputs: Any, output: Any) -> None:
            found[stage] = (output if isinstance(output, Tensor) else output[0])[0]

        return kept

    def first(_module: Any, inputs: Any, named: dict[str, Any]) -> None:
        found["embedding"] = (inputs[0] if inputs else named["hidden_states"])[0]

    hooks = [layers[0].register_forward_pre_hook(first, with_kwargs=True), norm.register_forward_hook(keep("norm"))]
    hooks += [layer.register_forward_hook(keep(f"layer {number}")) for number, layer in enumerate(layers)]
    try:
        run()
    finally:
        for hook in hooks:
            hook.remove()
    return found


def _departure(ours: Tensor, theirs: Tensor) -> float:
    if ours.shape != theirs.shape:
        return float("inf")
    return float((ours - theirs).abs().max() / theirs.abs().max().clamp(min=1e-30))


@torch.inference_mode()
def greedy(model: Any, prompt: Tensor, count: int, stops: Sequence[int] = (), **more: Any) -> Any:
    """Return the result of ``generate`` for a prompt [1, tokens]: so many tokens, or fewer if a stop token ends it."""
    mask = torch.ones_like(prompt)
    more |= {"eos_token_id": list(stops), "pad_token_id": stops[0]} if stops else {}
    return model.generate(prompt, attention_mask=mask, do_sample=False, num_beams=1, max_new_tokens=count, **more)


def compiled_modules(decoder: Decoder, weights: Weights, capacity: int) -> tuple[Prefill, Step]:
    """Return the two modules to compile, which share all blocks."""
    blocks = Blocks(decoder, weights, capacity)
    return Prefill(blocks), Step(blocks, weights)


def timed(request: dict[str, Any]) -> Callable[[dict[str, Any]], Call]:
    """Return the maker of calls for PyTorch's timing process: greedy decoding, as in the reference."""
    decoder = describe(request["config"])
    model = transformers_model(request["config"], opened_weights(decoder, request["source"]))

    def ready(item: dict[str, Any]) -> Call:
        prompt = torch.tensor([item["prompt"]])
        after = prompt.shape[1]
        return Call(lambda: greedy(model, prompt, item["tokens"]), lambda ids: {"token_ids": ids[0, after:].tolist()})

    return ready
