"""Commands that compare the compiled artifact with PyTorch, with other engines and with the machine's limits."""
