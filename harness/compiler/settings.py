"""The settings of TVM's passes wherever this project runs them."""

PASS_CONFIG = {"tirx.disable_storage_rewrite": True}
"""TVM 0.27 lets buffers share memory by the times of their uses, and overlooks uses through a view."""
