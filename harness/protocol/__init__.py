"""Define what goes over the wire: orders, records and tensors, in one schema for Python and the Rust runner."""
