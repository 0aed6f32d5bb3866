"""Name the operators of ATen's core, as torch lists them, and PyTorch's samples that stand for each."""

from __future__ import annotations

from functools import cache

import torch

SAMPLED_AS: dict[str, tuple[str, ...]] = {
    "_adaptive_avg_pool2d": ("nn_functional_adaptive_avg_pool2d",),
    "_adaptive_avg_pool3d": ("nn_functional_adaptive_avg_pool3d",),
    "_cdist_forward": ("cdist",),
    "_embedding_bag": ("nn_functional_embedding_bag",),
    "_fft_c2r": ("fft_irfft",),
    "_fft_r2c": ("fft_rfft",),
    "_log_softmax": ("log_softmax",),
    "_native_batch_norm_legit_no_training": ("nn_functional_batch_norm",),
    "_pdist_forward": ("nn_functional_pdist",),
    "_softmax": ("softmax",),
    "_to_copy": ("to", "long", "int", "double", "bool"),
    "adaptive_avg_pool1d": ("nn_functional_adaptive_avg_pool1d",),
    "alias": ("alias_copy",),
    "convolution": (
        *("nn_functional_conv1d", "nn_functional_conv2d", "nn_functional_conv3d"),
        *("nn_functional_conv_transpose1d", "nn_functional_conv_transpose2d", "nn_functional_conv_transpose3d"),
    ),
    "elu": ("nn_functional_elu", "nn_functional_celu", "nn_functional_selu"),
    "embedding": ("nn_functional_embedding",),
    "index": ("__getitem__",),
    "max_pool2d_with_indices": ("nn_functional_max_pool2d", "nn_functional_max_pool1d"),
    "max_pool3d_with_indices": ("nn_functional_max_pool3d",),
    "native_dropout": ("nn_functional_dropout",),
    "rand": ("rand_like",),
    "randperm": (),
    "reflection_pad1d": ("nn_functional_pad_reflect",),
    "reflection_pad2d": ("nn_functional_pad_reflect",),
    "reflection_pad3d": ("nn_functional_pad_reflect",),
    "replication_pad2d": ("nn_functional_pad_replicate",),
    "replication_pad3d": ("nn_functional_pad_replicate",),
    "upsample_bilinear2d": ("nn_functional_interpolate_bilinear", "nn_functional_upsample_bilinear"),
    "upsample_nearest2d": ("nn_functional_interpolate_nearest", "nn_functional_upsample_nearest"),
}
"""OpInfo's names of samples that use an operator, where it has none of the operator's own name."""
WITHOUT_SAMPLES = {
    "_local_scalar_dense": "a number for Python, of sizes by values",
    "col2im": "PyTorch has no samples",
    "copy": "PyTorch has no samples",
    "randperm": "random numbers",
    "sym_is_contiguous": "sizes, in models of any size",
    "sym_numel": "sizes, in models of any size",
    "sym_size": "sizes, in models of any size",
    "sym_storage_offset": "sizes, in models of any size",
    "sym_stride": "sizes, in models of any size",
}
FURTHER = (
    *(
        "aminmax",
        "argsort",
        "baddbmm",
        "bucketize",
        "copysign",
        "count_nonzero",
        "cross",
        "cummax",
        "cummin",
        "cumprod",
    ),
    *("diag_embed", "diff", "dist", "einsum", "erfc", "exp2", "fft_fft", "fft_ifft", "floor_divide", "fmax", "fmin"),
    *("frac", "grid_sampler_3d", "heaviside", "histc", "hypot", "index_add", "index_copy", "index_fill", "isin"),
    *("kthvalue", "lerp", "linspace", "logaddexp", "logcumsumexp", "logit", "logsumexp", "masked_fill", "matmul"),
    *("median", "mode", "msort", "nan_to_num", "nanmean", "nanmedian", "nansum", "norm", "outer", "repeat_interleave"),
    *("roll", "searchsorted", "sgn", "signbit", "sinc", "square", "std", "std_mean", "take", "trace", "tril", "triu"),
    *("unfold", "var_mean", "xlogy"),
    *(
        f"nn_functional_{name}"
        for name in (
            *("adaptive_max_pool1d", "adaptive_max_pool2d", "adaptive_max_pool3d", "cosine_similarity", "glu"),
            *("group_norm", "hardsigmoid", "hardswish", "instance_norm", "interpolate_area", "interpolate_bicubic"),
            *("interpolate_linear", "interpolate_nearest-exact", "interpolate_trilinear", "layer_norm", "linear"),
            *("local_response_norm", "logsigmoid", "mish", "normalize", "one_hot", "pad_circular", "pixel_shuffle"),
            *("prelu", "rms_norm", "scaled_dot_product_attention", "silu", "softplus", "softsign", "unfold"),
        )
    ),
)
"""OpInfo's names of further operators that models use."""


@cache
def core_operators() -> tuple[str, ...]:
    """Return the names of the operators that torch marks as its core."""
    found = set()
    for whole in torch._C._dispatch_get_all_op_names():
        name, _, overload = whole.removeprefix("aten::").partition(".")
        if not whole.startswith("aten::"):
            continue
        operator = getattr(getattr(torch.ops.aten, name, None), overload or "default", None)
        if operator is not None and torch.Tag.core in operator.tags:
            found.add(name)
    return tuple(sorted(found))


def is_of_training(name: str) -> bool:
    return name.endswith("_backward")
