"""Hold the settings of TVM's passes for all their runs in this project."""

PASS_CONFIG = {"tirx.disable_storage_rewrite": True}
"""TVM 0.27 lets buffers share memory by the times of their uses, and overlooks uses through a view."""
