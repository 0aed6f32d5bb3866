"""Cut a text into passages: tokens that a model reads, and the text's own next tokens, each of which it has to predict.

The predicted parts follow each other without a gap, and each has the same number of tokens before it. So a text's
perplexity is that of its tokens after the first ones, with a context of at least ``CONTEXT`` tokens.
"""

from __future__ import annotations

from pathlib import Path

from harness.core.errors import UsageError
from harness.models.language.description import Decoder
from harness.models.language.prompts import MOST_FILE_BYTES, Prompts, text_prompts
from harness.models.language.shipped import HELD_OUT
from harness.models.language.texts import Codec
from harness.models.options import ModelOption

SHIPPED = "shipped"
PASSAGES = ModelOption(
    "--passages",
    "predict the tokens of a text instead of decoding after prompts: a file in UTF-8, or 'shipped'",
    metavar="FILE",
    commands=("suites",),
    picks_items=True,
)
CALIBRATE = ModelOption(
    "--calibrate",
    "round int4 weights with regard to a text, by GPTQ: a file in UTF-8, of a kind that the model knows",
    metavar="FILE",
    commands=("suites", "compile"),
)
WINDOW, WINDOWS = 256, 128
"""The tokens of a window of such a text, and the most windows that are taken of it."""
CONTEXT = 192
"""The tokens before the first one that is predicted."""
MOST = 1000
"""The most passages of a text. Of a longer one they are spread evenly."""


def text_passages(codec: Codec, decoder: Decoder, tokens: int, text: str, source: str) -> Prompts:
    """Return the passages of a text, with so many predicted tokens each; ``source`` is its name for a person.

    Tokens that the tokenizer puts before a text are before each passage. Raises UsageError for a text that is too short
    for one passage, and if the model's context is too short.
    """
    around, ids = codec.encode(""), codec.encode(text)
    # What is around an empty text is partly before a text, partly behind it.
    before = next((at for at, (one, other) in enumerate(zip(around, ids, strict=False)) if one != other), len(around))
    begin, body = around[:before], ids[before : len(ids) - (len(around) - before)]
    context = min(CONTEXT, decoder.context - tokens) - before
    if context < 1:
        raise UsageError(
            f"the model takes {decoder.context} positions, too few for passages with {tokens} predicted tokens",
            cure="give a smaller --max-output-len",
        )
    count = (len(body) - context) // tokens
    if count < 1:
        raise UsageError(
            f"{source} has {len(body)} tokens, and a passage has {context + tokens}", cure="give a longer text"
        )
    found, following, labels = dict[str, list[int]](), dict[str, list[int]](), dict[str, str]()
    for number in sorted({at * count // min(count, MOST) for at in range(min(count, MOST))}):
        first = number * tokens
        item = f"passage_{number + 1}"
        found[item] = [*begin, *body[first : first + context]]
        following[item] = body[first + context : first + context + tokens]
        labels[item] = f"passage {number + 1}"
    # Room for the shipped prompts, too, so that one compiled model runs both.
    room = max(before + context, text_prompts(codec, decoder, tokens).room)
    return Prompts(found, labels, source, room, following)


def calibration_windows(codec: Codec, decoder: Decoder, wanted: str) -> list[list[int]]:
    """Return windows of a text's tokens, all of one length, spread evenly. Raises UsageError."""
    text, source = read_passages(wanted)
    ids, size = codec.encode(text), min(WINDOW, decoder.context)
    count = len(ids) // size
    if count < 1:
        raise UsageError(f"{source} has {len(ids)} tokens, and a window has {size}", cure="give a longer text")
    chosen = sorted({at * count // min(count, WINDOWS) for at in range(min(count, WINDOWS))})
    return [ids[number * size : (number + 1) * size] for number in chosen]


def read_passages(wanted: str) -> tuple[str, str]:
    """Return the text of ``--passages`` or ``--calibrate``, and its name for a person. Raises UsageError."""
    path = HELD_OUT if wanted == SHIPPED else Path(wanted).expanduser()
    try:
        if path.stat().st_size > MOST_FILE_BYTES:
            raise UsageError(f"{path} has more than {MOST_FILE_BYTES} bytes", cure="give a shorter text")
        return path.read_text(encoding="utf-8"), SHIPPED if wanted == SHIPPED else path.name
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}", cure="name a file of text") from error
    except ValueError as error:
        raise UsageError(f"{path} is no text in UTF-8: {error}", cure="name a file of text") from error
