"""Train the shipped byte-level language model, and write its text for evaluation."""
