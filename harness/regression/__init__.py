"""Make nightly runs and the gate: plan, pairs, limits and verdicts."""
