"""Run decoder-only language models from a Hugging Face configuration (``docs/generation.md``)."""
