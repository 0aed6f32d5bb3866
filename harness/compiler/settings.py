"""How TVM's passes are set wherever this project runs them."""

PASS_CONFIG = {"tirx.disable_storage_rewrite": True}
"""TVM 0.27 shares memory between buffers by when they are used, and overlooks uses through a view."""
