"""The fused operators."""
