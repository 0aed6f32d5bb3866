"""ONNX Runtime through optimum: ``python -m benchmarks.workers.onnxruntime_worker [--convert CHECKPOINT FOLDER]``.

The model is exported with a KV cache; one merged decoder graph serves the first step and the following ones.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import logging
import sys
import warnings
from typing import Any

import torch

from benchmarks.workers.generation import GenerateEngine
from benchmarks.workers.serving import serve


def load(request: dict[str, Any]) -> GenerateEngine:
    # Not installed where types are checked.
    onnxruntime: Any = importlib.import_module("onnxruntime")
    optimum: Any = importlib.import_module("optimum.onnxruntime")
    torch.set_num_threads(request["threads"])
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = request["threads"]
    options.inter_op_num_threads = 1
    model = optimum.ORTModelForSeq2SeqLM.from_pretrained(
        request["model"],
        use_cache=True,
        use_merged=True,
        provider="CPUExecutionProvider",
        session_options=options,
        local_files_only=True,
    )
    # optimum takes d_model / heads for the size of a head, which T5 does not promise (256 / 6 against 64 in the
    # published checkpoint); it needs it for the empty cache of the first step alone.
    model.decoder.embed_size_per_head = model.config.d_kv
    packages = ("onnxruntime", "optimum-onnx", "transformers", "torch")
    return GenerateEngine(model, request, {name: importlib.metadata.version(name) for name in packages})


def convert(checkpoint: str, folder: str) -> None:
    exporters: Any = importlib.import_module("optimum.exporters.onnx")
    exporters.main_export(checkpoint, output=folder, task="text2text-generation-with-past", local_files_only=True)


if __name__ == "__main__":
    warnings.filterwarnings("ignore")
    logging.disable(logging.WARNING)
    if sys.argv[1:2] == ["--convert"]:
        convert(*sys.argv[2:])
    else:
        serve(load)
