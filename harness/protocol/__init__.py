"""What goes over the wire: orders, records and tensors, the one schema that Python and the Rust runner share."""
