"""Run ``python -m harness.cli``, for use when the ``harness`` script is not on the path."""

from harness.cli import main

main()
