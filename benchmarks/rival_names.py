"""Name the models and engines of rivals.py. Imports nothing, so that options are checked at once."""

from __future__ import annotations

MODELS = {
    "mobilenet-v2": "torchvision, 224 x 224",
    "mobilenet-v3-small": "torchvision, 224 x 224",
    "mobilenet-v4-conv-small": "timm, 224 x 224",
    "efficientnet-lite0": "timm, 224 x 224",
    "resnet-18": "torchvision, 224 x 224",
    "regnet-x-400mf": "torchvision, grouped convolutions, 224 x 224",
    "detector": "the shipped one, 320 x 320",
    "u-net": "of torch_models.py, 64 x 64",
    "vision-transformer": "of torch_models.py, 64 x 64",
    "vit-tiny": "timm, patches of 16, 224 x 224",
    "mobilevit-s": "timm, 256 x 256",
    "bert-7": "the shipped one, 7 tokens",
    "bert-23-of-32": "the shipped one, 23 tokens and padding to 32",
    "bert-101": "the shipped one, 101 tokens",
    "whisper-tiny-encoder": "transformers, 30 s of sound",
    "wav2vec2-base-1s": "transformers, 1 s of sound",
    "conformer-block": "transformers, relative positions, 100 frames",
    "ds-cnn": "a keyword spotter, 49 frames of 10 coefficients",
}
QUICK = ("u-net", "ds-cnn")

OURS, PYTORCH = "ours", "pytorch"
RIVALS = ("onnxruntime", "openvino", "litert", "executorch", "ncnn", "mnn")
ENGINES = (OURS, *RIVALS, PYTORCH)
"""In the order of a round. The fastest rival is sought among ``RIVALS`` and PyTorch."""
TITLES = {
    OURS: "ours",
    PYTORCH: "PyTorch",
    "onnxruntime": "ONNX Runtime",
    "openvino": "OpenVINO",
    "litert": "LiteRT",
    "executorch": "ExecuTorch",
    "ncnn": "ncnn",
    "mnn": "MNN",
}
INT8 = (OURS, "onnxruntime", "openvino", "litert", "executorch", "mnn")
"""Engines that quantize a model after training by default, with what their packages on the registry bring."""
