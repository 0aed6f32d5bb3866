"""What can be compiled, and what PyTorch says of it. Your own is a :class:`ModelSpec` (docs/your-model.md)."""

from harness.models.comparison import ExactTokens, Tolerances, TopK
from harness.models.user import ModelSpec

__all__ = ["ExactTokens", "ModelSpec", "Tolerances", "TopK"]
