"""The suites that users run: pytest suites --device host."""
