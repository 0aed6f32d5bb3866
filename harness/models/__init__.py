"""Define what can be compiled, and get PyTorch's answers.

Your own model is a :class:`ModelSpec` (docs/your-model.md).
"""

from harness.models.tensor.spec import ModelSpec
from harness.validate.comparison import ComparisonRule, ExactTokens, Tolerances, TopK

__all__ = ["ComparisonRule", "ExactTokens", "ModelSpec", "Tolerances", "TopK"]
