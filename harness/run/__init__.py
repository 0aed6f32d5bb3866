"""Make one run: its options, the builder, the session and its steps."""
